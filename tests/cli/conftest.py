"""The served world, made once for each module; each test finds it tidy."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from agent_stack.settings import Settings
from agent_stack_cli.policy import document
from agent_stack_cli.stacks import Stack
from tests.cli.served import KEYS, STAYS_PENDING, Served
from tests.simulator.cloud import Caller
from tests.simulator.deployment import Deployed
from tests.simulator.iam import Policies
from tests.simulator.world import Plan, World

PARAMETERS = {"SessionManager": "true", "Queues": "default,linux.arm", "ReservationSeconds": "700"}
SOON = timedelta(seconds=1)


CLASSES = json.dumps(
    {
        "classes": {
            "default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"},
            "large": {"instance_types": ["m7i.4xlarge"], "image": "ami-0123456789abcdef0", "agent_tags": ["size=l"]},
        },
        "default_class": "default",
    }
)


def reader(deployed: Deployed) -> Caller:
    """An operator who may do in EC2 what the printed policy `read` says, and nothing else."""
    environment = deployed.environments["dispatcher"]
    stack = Stack(
        session=None,  # type: ignore[arg-type]  # the policy asks nobody
        name=environment["DEPLOYMENT"],
        arn=f"arn:aws:cloudformation:{deployed.region}:{deployed.account_id}:stack/demo/1",
        status="CREATE_COMPLETE",
        parameters={},
        outputs={
            "LedgerTable": deployed.ledger_table,
            "MailboxTable": deployed.mailbox_table,
            "DispatcherFunction": "dispatcher",
            "TrackerFunction": "tracker",
        },
    )
    vars(stack)["settings"] = Settings.from_environment(environment)
    arn = f"arn:aws:sts::{deployed.account_id}:assumed-role/reader/alice"
    return Caller(arn=arn, policies=Policies((document(stack, "read"),)))


@pytest.fixture(scope="module")
def _world() -> Iterator[Served]:
    with World(
        Plan(
            parameters=PARAMETERS,
            classes=CLASSES,
            pending=(SOON, SOON),
            pending_of={STAYS_PENDING: timedelta(hours=1)},
            operators={KEYS["AWS_ACCESS_KEY_ID"]: reader},
        )
    ) as world:
        yield Served(world)


@pytest.fixture
def served(_world: Served) -> Iterator[Served]:
    """The stack `demo` in its region, with no job and no VM."""
    yield _world
    _world.tidy()
