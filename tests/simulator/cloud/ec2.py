"""A fake EC2, as a test or a demo holds it in its hand."""

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.simulator.cloud.budgets import Budgets
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.faults import Faults
from tests.simulator.cloud.fleets import Fleets
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.region import BY_HOST, BY_ITSELF, BY_USER, Machines, Region, StateChange
from tests.simulator.cloud.settings import LaunchTemplateData, Settings
from tests.simulator.loopback import AnswerLost

MAX_RESULTS = 1000
MAX_TERMINATIONS = 1000
TYPES_PAGE = 2  # small, so that a reader who forgets the next page is found out

Watcher = Callable[[StateChange], None]


def no_launch_template(template_id: str, version: str) -> LaunchTemplateData:
    """For an account without launch templates.

    Raises:
        LookupError: always.
    """
    raise LookupError(f"{template_id} version {version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as it was asked and answered."""

    at: datetime
    action: str
    request: Mapping[str, Any]
    code: str | None = None
    """The error's code; None when it was served."""


class Ec2:
    """One account's EC2 in one region. Safe to use from several threads."""

    def __init__(
        self,
        *,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        launch_templates: Callable[[str, str], LaunchTemplateData] = no_launch_template,
        seed: int = 0,
        machines: Machines | None = None,
    ) -> None:
        """An empty region.

        Args:
            now: the time; the machine's own unless a simulation has another.
            launch_templates: a template's data by id and version; raises LookupError for unknown ones.
            machines: boots instances when they run; None when nothing runs in them.
        """
        self._now = now
        self._lock = threading.RLock()
        self._region = Region(settings=settings, seed=seed, machines=machines)
        self._budgets = Budgets(enforced=settings.throttled)
        self.faults = Faults()
        self.impaired: dict[str, str] = {}
        """Instances that fail a status check, and which: `system-status.status` or `instance-status.status`."""
        self.touched_by_hand: set[str] = set()
        """Instances that a person stopped or terminated."""
        self._fleets = Fleets(
            region=self._region, budgets=self._budgets, faults=self.faults, launch_templates=launch_templates
        )
        self._calls: list[Call] = []
        self._watchers: list[Watcher] = []
        self._actions: Mapping[str, Callable[[Mapping[str, Any], datetime], dict[str, Any]]] = {
            "CreateFleet": self._fleets.create,
            "CreateTags": self._create_tags,
            "DescribeImages": self._describe_images,
            "DescribeInstances": self._describe_instances,
            "DescribeInstanceStatus": self._describe_status,
            "DescribeSubnets": self._describe_subnets,
            "GetConsoleOutput": self._console_output,
            "GetInstanceTypesFromInstanceRequirements": self._types_with,
            "RunInstances": self._fleets.run,
            "TerminateInstances": self._terminate,
        }

    # --- as the network sees it ---

    def request(self, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Serve one request.

        Raises:
            Ec2Error: it is refused.
            AnswerLost: it was served, and the answer is lost.
        """
        with self._lock:
            now = self._now()
            self._region.advance(now)
            try:
                answer = self._serve(action, parameters, now)
            except Ec2Error as error:
                self._calls.append(Call(at=now, action=action, request=parameters, code=error.code))
                raise
            self._calls.append(Call(at=now, action=action, request=parameters))
            lost = self.faults.loses_answer(action)
        self._after()
        if lost:
            raise AnswerLost(action)
        return answer

    def _serve(self, action: str, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        serve = self._actions.get(action)
        if serve is None:
            raise Ec2Error("InvalidAction", f"The action {action} is not simulated")
        scripted = self.faults.error(action)
        if scripted is not None:
            raise scripted
        self._budgets.request(action, now)
        return serve(parameters, now)

    # --- time and power ---

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        with self._lock:
            self._region.advance(self._now())
        self._after()

    def next_due(self) -> datetime | None:
        """When the next thing happens by itself."""
        with self._lock:
            return self._region.next_due()

    def powered_off(self, instance_id: str) -> None:
        """The instance's computer switched itself off."""
        with self._lock:
            self._region.shut_down(instance_id, BY_ITSELF, self._now())
        self._after()

    def lose_host(self, instance_id: str) -> None:
        """The hardware under an instance fails."""
        with self._lock:
            self._region.shut_down(instance_id, BY_HOST, self._now())
        self._after()

    def stop(self, instance_id: str) -> None:
        """A person stops the instance."""
        with self._lock:
            self.touched_by_hand.add(instance_id)
            self._region.stop(instance_id, self._now())
        self._after()

    def terminate_by_hand(self, instance_id: str) -> None:
        """A person terminates the instance."""
        with self._lock:
            self.touched_by_hand.add(instance_id)
            self._region.shut_down(instance_id, BY_USER, self._now())
        self._after()

    def hide_zone(self, zone: str, *, hidden: bool) -> None:
        """Leave a zone's instances out of answers, or show them again."""
        with self._lock:
            (self._region.hidden_zones.add if hidden else self._region.hidden_zones.discard)(zone)

    def interrupt_spot(self, instance_id: str) -> datetime:
        """Take a spot instance back, after the notice; when."""
        with self._lock:
            return self._region.interrupt(instance_id, self._now())

    def launch_orphan(self, *, tags: Mapping[str, str], subnet_id: str, user_data: bytes = b"") -> Instance:
        """An instance that nobody asked a fleet for."""
        with self._lock:
            return self._region.launch(
                now=self._now(),
                instance_type="m7i.large",
                zone=self._region.settings.subnets[subnet_id].zone,
                subnet_id=subnet_id,
                market="on-demand",
                image_id="ami-0123456789abcdef0",
                user_data=user_data,
                tags=tags,
            )

    # --- what a test sees ---

    def instances(self) -> Sequence[Instance]:
        """Every instance there ever was, oldest first."""
        with self._lock:
            return tuple(self._region.instances.values())

    def calls(self) -> Sequence[Call]:
        """Every request so far."""
        with self._lock:
            return tuple(self._calls)

    def on_event(self, watcher: Watcher) -> None:
        """Hand every later state change to `watcher`."""
        self._watchers.append(watcher)

    def _after(self) -> None:
        """Boot and stop machines and tell watchers, without the lock."""
        while self._region.errands:
            errand = self._region.errands.popleft()
            errand()
        while self._region.events:
            event = self._region.events.popleft()
            for watcher in tuple(self._watchers):
                watcher(event)

    # --- actions ---

    def _describe_instances(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        ids = request.get("InstanceIds")
        if ids and "MaxResults" in request:
            raise Ec2Error("InvalidParameterCombination", "MaxResults cannot be combined with InstanceIds")
        shown = [i for i in self._region.instances.values() if self._region.shown(i, now)]
        if ids:
            missing = set(ids) - {instance.instance_id for instance in shown}
            if missing:
                raise _unknown(missing)
            shown = [instance for instance in shown if instance.instance_id in ids]
        for wanted in request.get("Filters", ()):
            shown = [instance for instance in shown if _matches(instance, wanted["Name"], wanted["Values"])]
        start = int(request.get("NextToken") or 0)
        size = min(request.get("MaxResults", MAX_RESULTS), MAX_RESULTS)
        page = shown[start : start + size]
        answer: dict[str, Any] = {
            "Reservations": [
                {"ReservationId": f"r-{instance.instance_id[2:]}", "Instances": [instance.described()]}
                for instance in page
            ]
        }
        if start + size < len(shown):
            answer["NextToken"] = str(start + size)
        return answer

    def _describe_status(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        (wanted,) = request["Filters"]
        failing = {instance_id for instance_id, check in self.impaired.items() if check == wanted["Name"]}
        return {
            "InstanceStatuses": [
                {"InstanceId": instance.instance_id, "AvailabilityZone": instance.zone}
                for instance in self._region.instances.values()
                if instance.state == "running" and instance.instance_id in failing
            ]
        }

    def _terminate(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        ids = list(dict.fromkeys(request["InstanceIds"]))
        if len(ids) > MAX_TERMINATIONS:
            raise Ec2Error("InvalidParameterValue", f"At most {MAX_TERMINATIONS} instance ids")
        missing = [i for i in ids if i not in self._region.instances or not self._region.shown(self._known(i), now)]
        if missing:
            raise _unknown(missing)
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

    def _create_tags(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        missing = [i for i in request["Resources"] if i not in self._region.instances]
        if missing:
            raise _unknown(missing)
        for instance_id in request["Resources"]:
            self._region.tag(instance_id, {tag["Key"]: tag["Value"] for tag in request["Tags"]})
        return {}

    def _describe_subnets(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        subnets = self._region.settings.subnets
        wanted = request.get("SubnetIds") or list(subnets)
        missing = [subnet_id for subnet_id in wanted if subnet_id not in subnets]
        if missing:
            raise Ec2Error("InvalidSubnetID.NotFound", f"The subnet ID '{missing[0]}' does not exist")
        return {
            "Subnets": [
                {
                    "SubnetId": subnet_id,
                    "AvailabilityZone": subnets[subnet_id].zone,
                    "AvailableIpAddressCount": self._region.addresses[subnet_id],
                }
                for subnet_id in wanted
            ]
        }

    def _describe_images(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        missing = [i for i in request.get("ImageIds", ()) if i in self._region.settings.unknown_images]
        if missing:
            raise Ec2Error("InvalidAMIID.NotFound", f"The image id '[{missing[0]}]' does not exist")
        images = [{"ImageId": i, "RootDeviceName": "/dev/xvda"} for i in request.get("ImageIds", ())]
        return {"Images": images}

    def _types_with(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        wanted = request["InstanceRequirements"]
        fitting = [
            {"InstanceType": name}
            for name, (architecture, vcpus, mebibytes) in sorted(self._region.settings.catalogue.items())
            if architecture in request["ArchitectureTypes"]
            and _within(vcpus, wanted["VCpuCount"])
            and _within(mebibytes, wanted["MemoryMiB"])
        ]
        start = int(request.get("NextToken") or 0)
        more = start + TYPES_PAGE < len(fitting)
        page: dict[str, Any] = {"InstanceTypes": fitting[start : start + TYPES_PAGE]}
        return {**page, **({"NextToken": str(start + TYPES_PAGE)} if more else {})}

    def _console_output(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        if request["InstanceId"] not in self._region.instances:
            raise _unknown([request["InstanceId"]])
        if request.get("Latest") and self._known(request["InstanceId"]).state != "running":
            raise Ec2Error("UnsupportedOperation", "This instance does not support retrieving the latest console logs")
        said = base64.b64encode(self._region.console(request["InstanceId"]).encode()).decode()
        return {"InstanceId": request["InstanceId"], "Timestamp": now, "Output": said}

    def _known(self, instance_id: str) -> Instance:
        return self._region.instances[instance_id]


def _unknown(ids: Sequence[str] | set[str]) -> Ec2Error:
    listed = ", ".join(sorted(ids))
    verb = "does" if len(ids) == 1 else "do"
    return Ec2Error("InvalidInstanceID.NotFound", f"The instance ID '{listed}' {verb} not exist")


def _within(value: int, bounds: Mapping[str, int]) -> bool:
    return bounds["Min"] <= value <= bounds.get("Max", value)


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
