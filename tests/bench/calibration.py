"""What the real adapters cost in CPU, measured on this machine: botocore and our own code around it, no network."""

import gc
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.dynamodb import (
    THROTTLES,
    DynamoLease,
    DynamoLedger,
    DynamoMailbox,
    Table,
    Transactions,
    items,
    lean_answers,
)
from agent_stack.adapters.dynamodb.known_runs import SIGNATURE
from agent_stack.adapters.dynamodb.table import KEYS_OF_A_BATCH
from agent_stack.adapters.dynamodb.transactions import AT_ONCE
from agent_stack.adapters.ec2 import Ec2Fleet
from agent_stack.adapters.ec2.instances import read_lean
from agent_stack.adapters.ec2.oddities import Oddities
from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG, INTENT_TAG, LaunchTemplate
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.adapters.system import Threads
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome
from agent_stack.domain.vms import Assignment
from agent_stack.wiring.deployment import AWS_CONFIG
from tests.simulator.clock import EPOCH, FixedDeadline, VirtualClock
from tests.simulator.cloud.front import _RawBody
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.protocol import serialise_answer
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import a_letter, a_run, a_vm

ITEMS = 500
ITEMS_OF_A_TRANSACTION = 100
"""A bound or an ended run is two of them."""

WRITTEN = b'{"ConsumedCapacity": []}'
LEASED = b"""{"Items": [], "ConsumedCapacity": {"TableName": "ledger", "CapacityUnits": 1}, "Attributes":
{"holder": {"S": "h"}, "fence": {"N": "1"}, "wakes": {"N": "0"}, "lease_until": {"N": "0"}}}"""
SERVER = f"""
LEASED = {LEASED!r}
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = LEASED
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
"""Answers everything with a lease; a process of its own, so that its CPU is not counted."""

REQUESTS = 50

ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """CPU seconds of one item; and of one request to AWS, in which the items' own are not counted again."""

    write: float
    update: float
    bind: float
    read: float
    seen: float
    launched: float
    described: float
    ended: float
    mailbox_status: float
    request: float


def calibrate(rounds: int = ROUNDS) -> Calibration:
    """Measure; a second or two.

    Args:
        rounds: how often, of which the median counts.
    """
    runs = [replace(a_run(n), reserved_until=EPOCH) for n in range(ITEMS)]
    reserved = [run.reserved(now=EPOCH, until=EPOCH + timedelta(hours=1)) for run in runs]
    pairs: list[tuple[Run, Assignment]] = [
        (run.bound(a_vm(n), now=EPOCH), a_letter(run, a_vm(n))) for n, run in enumerate(runs)
    ]
    page = _page(ITEMS)
    knowing = canned_ledger(page, signatures=_page(ITEMS, only=SIGNATURE))
    knowing.active_runs()
    ledger = canned_ledger(WRITTEN)
    assignments = [items.packed(items.assignment_values(assignment)) for _, assignment in pairs[:KEYS_OF_A_BATCH]]
    mailboxes = canned_ledger(_json({"Responses": {"mailboxes": assignments}})).mailboxes
    boxes, arns = (
        DynamoMailbox(table=mailboxes, clock=VirtualClock()),
        [assignment.instance_arn for _, assignment in pairs[:KEYS_OF_A_BATCH]],
    )
    shown = _fleet("DescribeInstances", _described_answer())
    canned = _cpu_of_renewals(canned_ledger(LEASED).table, rounds)

    def net(requests: int, act: Callable[[], object], first: Callable[[], object] = lambda: None) -> float:
        """CPU of one item without that of the requests that carry them."""
        return max(0.0, _cpu(act, first, rounds) - requests * canned)

    batches = -(-ITEMS // ITEMS_OF_A_TRANSACTION)
    return Calibration(
        write=net(batches, lambda: ledger.record(runs)) / ITEMS,
        update=net(batches, lambda: ledger.update(reserved), first=lambda: ledger.record(runs)) / ITEMS,
        bind=net(2 * batches, lambda: ledger.bind(pairs), first=lambda: ledger.record(runs)) / ITEMS,
        read=net(items.SHARDS, lambda: canned_ledger(page).active_runs()) / (ITEMS * items.SHARDS),
        seen=net(items.SHARDS, knowing.active_runs) / (ITEMS * items.SHARDS),
        launched=net(1, lambda: _fleet("CreateFleet", _fleet_answer()).launch(_REQUEST)) / ITEMS,
        described=net(1, shown.describe) / ITEMS,
        ended=net(2 * batches, lambda: ledger.end([run.ended(Outcome.FINISHED, now=EPOCH) for run, _ in pairs]))
        / ITEMS,
        mailbox_status=net(1, lambda: boxes.read(arns)) / len(arns),
        request=cpu_of_a_request(rounds),
    )


def cpu_of_a_request(rounds: int = ROUNDS) -> float:
    """CPU seconds of a request to AWS that asks for next to nothing, a lease's renewal, over HTTP on loopback.

    TLS on a connection that is open costs little besides, and is left out.
    """
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            client = boto3.client(
                "dynamodb",
                region_name="eu-central-1",
                endpoint_url=f"http://127.0.0.1:{server.stdout.readline().strip()}",
                aws_access_key_id="AKID",
                aws_secret_access_key="secret",
                config=AWS_CONFIG,
            )
            return _cpu_of_renewals(replace(canned_ledger(LEASED).table, client=client), rounds)
        finally:
            server.kill()


def _cpu_of_renewals(table: Table, rounds: int) -> float:
    """CPU seconds of one."""
    lease, ttl = DynamoLease(table=table, function="dispatcher"), timedelta(seconds=9)
    held = lease.acquire("h", now=EPOCH, ttl=ttl)
    assert held is not None

    def renew() -> None:
        for _ in range(REQUESTS):
            lease.renew(held, now=EPOCH, ttl=ttl)

    return _cpu(renew, rounds=rounds) / REQUESTS


def parsing_mib() -> float:
    """Python's peak while an answer with a thousand instances is read."""
    fleet = _fleet("DescribeInstances", _described_answer())
    fleet.describe()
    tracemalloc.start()
    fleet.describe()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 2**20 * 1_000 / ITEMS, 1)


def read_active_runs(count: int) -> None:
    """Let the real adapter read so many runs."""
    canned_ledger(_page(count // items.SHARDS)).active_runs()


def _page(count: int, only: Sequence[str] = ()) -> bytes:
    """DynamoDB's answer with so many active runs."""
    runs = [a_run(number).bound(a_vm(number), now=EPOCH) for number in range(count)]
    stored = [items.packed({"pk": "run#0", "sk": run.job_id, "write_id": "w", **items.run_values(run)}) for run in runs]
    shown = [{name: item[name] for name in only or item} for item in stored]
    return _json({"Items": shown, "Count": count})


def _cpu(act: Callable[[], object], first: Callable[[], object] = lambda: None, rounds: int = ROUNDS) -> float:
    """CPU seconds; the median, for this machine does other things, too."""
    first()
    act()  # what is loaded once is not an item's
    gc.freeze()  # nor is a look at what everybody else has left in memory
    taken: list[float] = []
    for _ in range(rounds):
        first()
        began = time.process_time()
        act()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def _json(value: Any) -> bytes:  # noqa: ANN401  (JSON)
    import json  # noqa: PLC0415  (nothing else here needs it)

    return json.dumps(value).encode()


def _client(service: str, body: bytes, projected: bytes | None = None) -> Any:  # noqa: ANN401  (of any service)
    client = boto3.client(
        service,  # type: ignore[call-overload]  # any service's name
        region_name="eu-central-1",
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        config=AWS_CONFIG,
    )

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        asked = str(request.body)
        answered = projected if projected is not None and "ProjectionExpression" in asked else body
        return AWSResponse(request.url, 200, HTTPHeaders(), _RawBody(answered))

    client.meta.events.register_first(f"before-send.{service}", answer)
    return client


def _calls(clock: VirtualClock) -> AwsCalls:
    return AwsCalls(
        clock=clock, ids=SeededIds(), deadline=FixedDeadline(), throttles=THROTTLES, server_errors=frozenset()
    )


def canned_ledger(body: bytes, signatures: bytes | None = None) -> DynamoLedger:
    """The real adapter, to which DynamoDB answers that to everything, or else to a look at signatures only."""
    clock = VirtualClock()
    client = lean_answers.read_lean(_client("dynamodb", body, signatures))
    table = Table(client=client, calls=_calls(clock), name="ledger")
    return DynamoLedger(
        table=table,
        mailboxes=replace(table, name="mailboxes"),
        transactions=Transactions(
            client=client,
            calls=_calls(clock),
            clock=clock,
            ids=SeededIds(),
            telemetry=RecordedTelemetry(),
            workers=Threads(AT_ONCE),
        ),
        history=timedelta(days=1),
        clock=clock,
        ids=SeededIds(),
        telemetry=RecordedTelemetry(),
    )


_REQUEST = (
    '{"ClientToken":"as-1","Type":"instant","TargetCapacitySpecification":'
    '{"TotalTargetCapacity":500,"DefaultTargetCapacityType":"on-demand"},"LaunchTemplateConfigs":[]}'
)


def _fleet(action: str, answer: dict[str, Any]) -> Ec2Fleet:
    client = read_lean(_client("ec2", serialise_answer(action, answer)))
    clock = VirtualClock()
    calls = _calls(clock)
    subnets = Subnets(
        client=lambda: client,
        calls=calls,
        clock=clock,
        telemetry=RecordedTelemetry(),
        subnet_ids=("subnet-a",),
    )
    subnets._zones["subnet-a"] = "eu-central-1a"
    return Ec2Fleet(
        client=lambda: client,
        calls=calls,
        clock=clock,
        deployment="stack",
        arn_prefix="arn:aws:ec2:eu-central-1:123456789012:instance/",
        template=LaunchTemplate(template_id="lt-0123456789abcdef0", version="1"),
        subnets=subnets,
        policy=LaunchPolicy(),
        oddities=Oddities(telemetry=RecordedTelemetry()),
    )


def _fleet_answer() -> dict[str, Any]:
    ids = [f"i-{n:017x}" for n in range(ITEMS)]
    origin = {"Overrides": {"InstanceType": "m7i.large", "SubnetId": "subnet-a"}}
    group = {"InstanceIds": ids, "InstanceType": "m7i.large", "Lifecycle": "on-demand"}
    return {"FleetId": "fleet-1", "Instances": [{**group, "LaunchTemplateAndOverrides": origin}], "Errors": []}


def _described_answer() -> dict[str, Any]:
    shown = [
        Instance(
            instance_id=f"i-{n:017x}",
            instance_type="m7i.large",
            zone="eu-central-1a",
            subnet_id="subnet-a",
            capacity_type="on-demand",
            image_id="ami-1",
            user_data=b"",
            tags={DEPLOYMENT_TAG: "stack", INTENT_TAG: "as-1", "Name": "x", "agent-stack:class": "default"},
            launched_at=EPOCH,
            running_at=EPOCH,
        ).described()
        for n in range(ITEMS)
    ]
    return {
        "Reservations": [{"ReservationId": f"r-{n}", "Instances": [{**_BESIDES, **one}]} for n, one in enumerate(shown)]
    }


_GROUPS = [{"GroupId": "sg-0123456789abcdef0", "GroupName": "stack-SecurityGroup-1A2B3C4D5E6F"}]
_BESIDES = {
    "AmiLaunchIndex": 0,
    "KernelId": "",
    "Monitoring": {"State": "disabled"},
    "PrivateDnsName": "ip-10-0-0-1.eu-central-1.compute.internal",
    "PrivateIpAddress": "10.0.0.1",
    "VpcId": "vpc-0123456789abcdef0",
    "Architecture": "x86_64",
    "BlockDeviceMappings": [
        {
            "DeviceName": "/dev/xvda",
            "Ebs": {"AttachTime": EPOCH, "DeleteOnTermination": True, "Status": "attached", "VolumeId": "vol-0"},
        }
    ],
    "ClientToken": "fleet-01234567-0123-0123-0123-0123456789ab-0",
    "EbsOptimized": True,
    "EnaSupport": True,
    "Hypervisor": "xen",
    "IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/stack-InstanceProfile", "Id": "AIPA"},
    "NetworkInterfaces": [
        {
            "Attachment": {"AttachTime": EPOCH, "AttachmentId": "eni-attach-0", "DeleteOnTermination": True},
            "Description": "",
            "Groups": _GROUPS,
            "InterfaceType": "interface",
            "Ipv6Addresses": [],
            "MacAddress": "02:00:00:00:00:01",
            "NetworkInterfaceId": "eni-0123456789abcdef0",
            "OwnerId": "123456789012",
            "PrivateIpAddress": "10.0.0.1",
            "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": "10.0.0.1"}],
            "SourceDestCheck": True,
            "Status": "in-use",
            "SubnetId": "subnet-a",
            "VpcId": "vpc-0123456789abcdef0",
        }
    ],
    "RootDeviceName": "/dev/xvda",
    "RootDeviceType": "ebs",
    "SecurityGroups": _GROUPS,
    "SourceDestCheck": True,
    "VirtualizationType": "hvm",
    "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 2},
    "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
    "HibernationOptions": {"Configured": False},
    "MetadataOptions": {
        "State": "applied",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
        "HttpEndpoint": "enabled",
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "enabled",
    },
    "EnclaveOptions": {"Enabled": False},
    "MaintenanceOptions": {"AutoRecovery": "default"},
    "PlatformDetails": "Linux/UNIX",
    "UsageOperation": "RunInstances",
}
"""What EC2 says of an instance besides: an answer is as long as the ones that are read in production."""
