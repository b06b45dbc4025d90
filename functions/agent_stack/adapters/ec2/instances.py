"""DescribeInstances' answers, read for what we want of them and no more.

Botocore walks every field of every instance by its model of the service, most of a cycle's CPU once thousands of VMs
live. This walks the same XML for the nine fields that become a `Vm`, and gives them in botocore's own shape, so that
whoever reads the answer need not know by whom it was parsed; the contract suite holds both to the same.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

OK = 200
_NS = "{http://ec2.amazonaws.com/doc/2016-11-15/}"
_PLAIN = {
    f"{_NS}instanceId": "InstanceId",
    f"{_NS}instanceType": "InstanceType",
    f"{_NS}instanceLifecycle": "InstanceLifecycle",
}
_STATE, _REASON, _PLACEMENT = f"{_NS}instanceState", f"{_NS}stateReason", f"{_NS}placement"
_TAGS, _LAUNCHED, _CPUS = f"{_NS}tagSet", f"{_NS}launchTime", f"{_NS}cpuOptions"
_CORES, _THREADS = f"{_NS}coreCount", f"{_NS}threadsPerCore"
_NAME, _CODE, _ZONE, _KEY, _VALUE = (f"{_NS}{name}" for name in ("name", "code", "availabilityZone", "key", "value"))
_READ_ALREADY = b"<DescribeInstancesResponse><requestId>-</requestId></DescribeInstancesResponse>"


def read_lean(client: "EC2Client") -> "EC2Client":
    """The client, whose DescribeInstances answers hold only what a `Vm` is made of."""
    client.meta.events.register("before-parse.ec2.DescribeInstances", _read, unique_id="agent-stack-lean")
    return client


def _read(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Botocore's hook before it parses; errors, and what is no such answer, are left to it."""
    if response_dict["status_code"] != OK:
        return
    try:
        root = ET.fromstring(response_dict["body"])  # noqa: S314  (from EC2, over TLS)
    except ET.ParseError:
        return
    if root.tag != f"{_NS}DescribeInstancesResponse" or root.find(f"{_NS}reservationSet") is None:
        return  # an answer without its list is no answer of no instances
    customized_response_dict["Reservations"] = [{"Instances": list(_instances(root))}]
    token = root.findtext(f"{_NS}nextToken")
    if token:
        customized_response_dict["NextToken"] = token
    response_dict["body"] = _READ_ALREADY


def _instances(root: ET.Element) -> Iterator[dict[str, Any]]:
    for item in root.iterfind(f"{_NS}reservationSet/{_NS}item/{_NS}instancesSet/{_NS}item"):
        shown: dict[str, Any] = {}
        for part in item:
            name = part.tag
            if name in _PLAIN:
                shown[_PLAIN[name]] = part.text
            elif name == _STATE:
                shown["State"] = {"Name": part.findtext(_NAME)}
            elif name == _LAUNCHED:
                shown["LaunchTime"] = datetime.fromisoformat(part.text or "")
            elif name == _PLACEMENT:
                shown["Placement"] = {"AvailabilityZone": part.findtext(_ZONE, "")}
            elif name == _TAGS:
                shown["Tags"] = [{"Key": tag.findtext(_KEY), "Value": tag.findtext(_VALUE, "")} for tag in part]
            elif name == _CPUS:
                shown["CpuOptions"] = {
                    "CoreCount": int(part.findtext(_CORES, "0")),
                    "ThreadsPerCore": int(part.findtext(_THREADS, "0")),
                }
            elif name == _REASON:
                shown["StateReason"] = {"Code": part.findtext(_CODE, "")}
        yield shown
