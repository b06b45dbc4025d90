"""The deployment's own check: what is wrong with a single class or subnet is named, and stops nothing else."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError, ConfigurationError, NotPermittedError, RetryError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.standby_schedule import Standby
from agent_stack.removal.retry_until_permitted import RetryUntilPermitted
from agent_stack.wiring.check_parts import CheckParts
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2, Settings, Subnet
from tests.simulator.identity import SeededIds
from tests.simulator.simulation.direct import DirectClient
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import LARGE, SMALL, FixedClasses, a_class
from tests.unit.values import a_policy

GPU = ClassName("gpu")
WRONG = ConfigurationError(setting="ClassesParameter", value="/c", problem="classes.gpu.image: gone", remedy="-")
SLOW = a_class(LARGE, boot_timeout=timedelta(seconds=3240))


class Checked:
    """A check of these classes in an account with two subnets."""

    def __init__(
        self,
        *names: ClassName,
        broken: Mapping[ClassName, AgentStackError] | None = None,
        subnet_ids: tuple[str, ...] = ("subnet-a", "subnet-b"),
        standby: Standby | None = None,
    ) -> None:
        self.clock = VirtualClock()
        classes = {name: SLOW if name == LARGE else a_class(name, standby=standby) for name in names}
        book = ClassBook(classes=classes, default=SMALL, broken=broken or {})
        there = {name: Subnet(zone=name) for name in ("subnet-a", "subnet-b")}
        client: Any = DirectClient(Ec2(settings=Settings(subnets=there), now=self.clock.now))
        self.telemetry = RecordedTelemetry()
        self.check = CheckParts(
            classes=FixedClasses(classes=book),
            subnets=Subnets(
                client=lambda: client,
                calls=AwsCalls(
                    clock=self.clock,
                    ids=SeededIds(),
                    deadline=FixedDeadline(),
                    throttles=errors.NOTHING_DONE,
                    server_errors=errors.SERVER,
                ),
                clock=self.clock,
                telemetry=self.telemetry,
                subnet_ids=subnet_ids,
            ),
            policy=a_policy(reservation=timedelta(seconds=660)),
            telemetry=self.telemetry,
        )

    def __call__(self) -> str:
        return "; ".join(self.check(RetryUntilPermitted(clock=self.clock, deadline=FixedDeadline())))


def test_all_is_well() -> None:
    assert Checked(SMALL)() == ""


def test_each_wrong_part_is_named_and_the_rest_is_deployed() -> None:
    checked = Checked(SMALL, LARGE, broken={GPU: WRONG}, subnet_ids=("subnet-a", "subnet-x"))
    said = checked()
    assert "classes.gpu.image: gone" in said
    assert "class “large” may take 3240 s to boot" in said
    assert "Subnets='subnet-x': EC2 finds no such subnet" in said
    assert checked.telemetry.messages("ERROR").count("deployment_problem") == 3


def test_standby_vms_that_cannot_be_are_named_and_their_class_is_deployed() -> None:
    hot = Standby(hot=1, max_age=timedelta(minutes=7))
    assert "standby.max_age_minutes='7'" in Checked(SMALL, standby=hot)()


def test_nothing_is_deployed_that_has_no_class_or_no_subnet_to_use() -> None:
    with pytest.raises(ConfigurationError, match=r"classes\.gpu\.image: gone"):
        Checked(broken={GPU: WRONG})()
    with pytest.raises(ConfigurationError, match="ReservationSeconds='660'"):
        Checked(LARGE)()
    with pytest.raises(ConfigurationError, match="EC2 finds none of them"):
        Checked(SMALL, subnet_ids=("subnet-x",))()


@pytest.mark.parametrize(
    "error",
    [
        RetryError("classes.gpu: not known yet"),
        NotPermittedError(setting="s", value="v", problem="classes.gpu.image: not yet", remedy="-"),
    ],
)
def test_what_iam_or_ec2_has_not_said_yet_is_waited_for_and_then_named(error: AgentStackError) -> None:
    checked = Checked(SMALL, broken={GPU: error})
    began = checked.clock.now()
    assert "classes.gpu" in checked()
    assert timedelta(seconds=30) < checked.clock.now() - began < timedelta(seconds=60)
