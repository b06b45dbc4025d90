"""What EC2 says of instances and does to them: their description, status, console and tags, and their end."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.simulator.cloud.authorisation import Caller, arn, touching
from tests.simulator.cloud.budgets import Budgets
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.pages import page_of
from tests.simulator.cloud.region import BY_USER, Region

MAX_RESULTS = 1000
MAX_TERMINATIONS = 1000

Request = Mapping[str, Any]


class InstancesApi:
    """Serves these actions."""

    def __init__(self, *, region: Region, budgets: Budgets) -> None:
        self._region = region
        self._budgets = budgets
        self.impaired: dict[str, str] = {}

    def describe(self, request: Request, now: datetime) -> dict[str, Any]:
        """DescribeInstances.

        Raises:
            Ec2Error: an id or a filter is unknown, or ids come with MaxResults.
        """
        ids = request.get("InstanceIds")
        if ids and "MaxResults" in request:
            raise Ec2Error("InvalidParameterCombination", "MaxResults cannot be combined with InstanceIds")
        shown = [i for i in self._region.current(now) if self._region.shown(i, now)]
        if ids:
            missing = set(ids) - {instance.instance_id for instance in shown}
            if missing:
                raise _unknown(missing)
            named = frozenset(ids)
            shown = [instance for instance in shown if instance.instance_id in named]
        for wanted in request.get("Filters", ()):
            shown = [instance for instance in shown if _matches(instance, wanted["Name"], wanted["Values"])]
        page = page_of("Reservations", shown, request, MAX_RESULTS)
        reservations = [
            {"ReservationId": f"r-{instance.instance_id[2:]}", "Instances": [instance.described()]}
            for instance in page["Reservations"]
        ]
        return {**page, "Reservations": reservations}

    def describe_status(self, request: Request, now: datetime) -> dict[str, Any]:
        """DescribeInstanceStatus, by the one filter that says which check failed."""
        (wanted,) = request["Filters"]
        failing = {instance_id for instance_id, check in self.impaired.items() if check == wanted["Name"]}
        return {
            "InstanceStatuses": [
                {"InstanceId": instance.instance_id, "AvailabilityZone": instance.zone}
                for instance in self._region.current(now)
                if instance.state == "running" and instance.instance_id in failing
            ]
        }

    def terminate(self, request: Request, now: datetime, caller: Caller | None) -> dict[str, Any]:
        """TerminateInstances: all of them, or none.

        Raises:
            Ec2Error: an id is unknown or its termination is denied, or there are too many.
        """
        ids = list(dict.fromkeys(request["InstanceIds"]))
        if len(ids) > MAX_TERMINATIONS:
            raise Ec2Error("InvalidParameterValue", f"At most {MAX_TERMINATIONS} instance ids")
        missing = [i for i in ids if i not in self._region.instances or not self._region.shown(self._known(i), now)]
        if missing:
            raise _unknown(missing)
        self._check(caller, "TerminateInstances", ids)
        if self._budgets.instances("TerminateInstances", len(ids), now) < len(ids):
            raise Ec2Error("RequestLimitExceeded", "Too many instances at once", status=503)
        changes = []
        for instance_id in ids:
            before = self._known(instance_id)
            after = self._region.shut_down(instance_id, BY_USER, now)
            changes.append(
                {
                    "InstanceId": instance_id,
                    "PreviousState": before.described()["State"],
                    "CurrentState": after.described()["State"],
                }
            )
        return {"TerminatingInstances": changes}

    def create_tags(self, request: Request, now: datetime, caller: Caller | None) -> dict[str, Any]:
        """CreateTags, on instances.

        Raises:
            Ec2Error: an id is unknown or its tagging is denied.
        """
        missing = [i for i in request["Resources"] if i not in self._region.instances]
        if missing:
            raise _unknown(missing)
        tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        self._check(caller, "CreateTags", request["Resources"], tags)
        for instance_id in request["Resources"]:
            self._region.tag(instance_id, tags)
        return {}

    def console_output(self, request: Request, now: datetime, caller: Caller | None) -> dict[str, Any]:
        """GetConsoleOutput.

        Raises:
            Ec2Error: the id is unknown, reading is denied, or the latest output of what does not run is asked for.
        """
        if request["InstanceId"] not in self._region.instances:
            raise _unknown([request["InstanceId"]])
        self._check(caller, "GetConsoleOutput", [request["InstanceId"]])
        if request.get("Latest") and self._known(request["InstanceId"]).state != "running":
            raise Ec2Error("UnsupportedOperation", "This instance does not support retrieving the latest console logs")
        said = base64.b64encode(self._region.console(request["InstanceId"]).encode()).decode()
        return {"InstanceId": request["InstanceId"], "Timestamp": now, "Output": said}

    def _check(
        self, caller: Caller | None, action: str, ids: Iterable[str], tags: Mapping[str, str] | None = None
    ) -> None:
        if caller is not None:
            caller.check(
                touching(action, arn(self._region.settings, f"instance/{i}"), self._known(i).tags, tags) for i in ids
            )

    def _known(self, instance_id: str) -> Instance:
        return self._region.instances[instance_id]


def _unknown(ids: Sequence[str] | set[str]) -> Ec2Error:
    listed = ", ".join(sorted(ids))
    verb = "does" if len(ids) == 1 else "do"
    return Ec2Error("InvalidInstanceID.NotFound", f"The instance ID '{listed}' {verb} not exist")


def _matches(instance: Instance, name: str, values: Sequence[str]) -> bool:
    if name.startswith("tag:"):
        return instance.tags.get(name.removeprefix("tag:")) in values
    match name:
        case "instance-id":
            return instance.instance_id in values
        case "instance-state-name":
            return instance.state in values
        case "tag-key":
            return any(value in instance.tags for value in values)
        case _:
            raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is not simulated")
