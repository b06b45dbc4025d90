"""A fake EC2, as a test or a demo holds it in its hand."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.simulator.cloud.authorisation import Caller
from tests.simulator.cloud.budgets import Budgets
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.faults import Faults
from tests.simulator.cloud.fleets import Fleets
from tests.simulator.cloud.image_tags import about_images, tag
from tests.simulator.cloud.images import Images
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.instances_api import InstancesApi
from tests.simulator.cloud.pools import Pools
from tests.simulator.cloud.quotas import Quotas
from tests.simulator.cloud.region import BY_HOST, BY_ITSELF, BY_USER, Machines, Region, StateChange
from tests.simulator.cloud.runs import Runs
from tests.simulator.cloud.settings import LaunchTemplateData, Settings
from tests.simulator.cloud.types_api import TypesApi
from tests.simulator.iam.policy import Asked
from tests.simulator.loopback import AnswerLost

LAUNCHES = frozenset({"CreateFleet", "RunInstances"})
ON_A_RESOURCE = LAUNCHES | {"CreateTags", "DeleteTags", "GetConsoleOutput", "TerminateInstances"}

Watcher = Callable[[StateChange], None]
Action = Callable[[Mapping[str, Any], datetime, Caller | None], dict[str, Any]]


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
        self._budgets = budgets = Budgets(enforced=settings.throttled)
        self.faults = Faults(now=now, refusals=settings.refusals, seed=seed)
        self.quotas = Quotas(began_at=now(), ceilings=dict(settings.quotas), workloads=settings.workloads)
        """The vCPU quotas, to be changed at any time."""
        self.images = Images(settings.images, unknown=settings.unknown_images, parameters=settings.parameters)
        """The images, to be changed at any time."""
        self.network = self._region.network
        """The subnets, to be changed at any time."""
        self.touched_by_hand: set[str] = set()
        """Instances that a person stopped or terminated."""
        pools = Pools(region=self._region, quotas=self.quotas, images=self.images)
        instances = InstancesApi(region=self._region, budgets=budgets)
        self.impaired = instances.impaired
        """Instances that fail a status check, and which: `system-status.status` or `instance-status.status`."""
        types = TypesApi(settings)
        fleets = Fleets(
            region=self._region, pools=pools, budgets=budgets, faults=self.faults, launch_templates=launch_templates
        )
        runs = Runs(region=self._region, pools=pools, budgets=budgets, faults=self.faults)
        self._calls: list[Call] = []
        self._watchers: list[Watcher] = []
        self._actions: Mapping[str, Action] = {
            "CreateFleet": fleets.create,
            "CreateTags": lambda request, now, caller: (
                tag(self.images, settings, "CreateTags", request, caller)
                if about_images(request)
                else instances.create_tags(request, now, caller)
            ),
            "DeleteTags": lambda request, _now, caller: tag(self.images, settings, "DeleteTags", request, caller),
            "DescribeImages": lambda request, _now, _caller: self.images.describe(request),
            "DescribeInstances": lambda request, now, _caller: instances.describe(request, now),
            "DescribeInstanceStatus": lambda request, now, _caller: instances.describe_status(request, now),
            "DescribeInstanceTypeOfferings": lambda request, _now, _caller: types.offerings(request),
            "DescribeInstanceTypes": lambda request, _now, _caller: types.describe(request),
            "DescribeRouteTables": lambda request, _now, _caller: self.network.describe_route_tables(request),
            "DescribeSubnets": lambda request, _now, _caller: self.network.describe(request),
            "GetConsoleOutput": instances.console_output,
            "GetInstanceTypesFromInstanceRequirements": lambda request, _now, _caller: types.with_requirements(request),
            "RunInstances": runs.run,
            "TerminateInstances": instances.terminate,
        }

    # --- as the network sees it ---

    def request(self, action: str, parameters: Mapping[str, Any], caller: Caller | None = None) -> dict[str, Any]:
        """Serve one request.

        Args:
            caller: whose policies must allow it; None for somebody who may do everything.

        Raises:
            Ec2Error: it is refused.
            AnswerLost: it was served, and the answer is lost.
        """
        with self._lock:
            now = self._now()
            self._region.advance(now)
            try:
                answer = self._serve(action, parameters, now, caller)
            except Ec2Error as error:
                self._calls.append(Call(at=now, action=action, request=parameters, code=error.code))
                raise
            self._calls.append(Call(at=now, action=action, request=parameters))
            lost = self.faults.loses_answer(action)
            if self.faults.says_nothing(action):
                answer = {**answer, "Instances": [], "Errors": []}
        self._after()
        if lost:
            raise AnswerLost(action)
        return answer

    def _serve(
        self, action: str, parameters: Mapping[str, Any], now: datetime, caller: Caller | None
    ) -> dict[str, Any]:
        serve = self._actions.get(action)
        if serve is None:
            raise Ec2Error("InvalidAction", f"The action {action} is not simulated")
        scripted = self.faults.error(action)
        if scripted is not None:
            raise scripted
        self._budgets.request(action, now)
        if action not in LAUNCHES:  # those look at their pools first
            self.faults.check(action)
        if caller is not None and action not in ON_A_RESOURCE:
            caller.check([Asked(action=f"ec2:{action}", resource="*")])
        return serve(parameters, now, caller)

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
                zone=self.network.subnet(subnet_id).zone,
                subnet_id=subnet_id,
                capacity_type="on-demand",
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
