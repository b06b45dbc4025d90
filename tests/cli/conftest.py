"""The served world, made once for each module; each test finds it tidy."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import get_args

import pytest

from agent_stack.settings import Settings
from agent_stack_cli.policy import Kind, document
from agent_stack_cli.stacks import Stack
from tests.cli.served import STAYS_PENDING, Served, access_key
from tests.simulator.cloud import Caller
from tests.simulator.deployment import Deployed
from tests.simulator.iam import Policies
from tests.simulator.world import Plan, World

PARAMETERS = {"SessionManager": "true", "Queues": "default,linux.arm", "ReservationSeconds": "700"}
SOON = timedelta(seconds=1)
IMAGE_PARAMETER = "/agent-stack/images/Demo-amazon-linux-2023-x86"


CLASSES = json.dumps(
    {
        "classes": {
            "default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"},
            "large": {"instance_types": ["m7i.4xlarge"], "image": "ami-0123456789abcdef0", "agent_tags": ["size=l"]},
        },
        "default_class": "default",
    }
)


def operators() -> dict[str, Callable[[Deployed], Caller]]:
    """Three operators, each of whom may do what the printed policy of one kind says, and nothing else."""
    return {access_key(kind): partial(operator, kind) for kind in get_args(Kind)}


def operator(kind: Kind, deployed: Deployed) -> Caller:
    """Who has that policy."""
    arn = f"arn:aws:sts::{deployed.account_id}:assumed-role/{kind}/alice"
    return Caller(arn=arn, policies=Policies((document(stack_of(deployed), kind),)))


def stack_of(deployed: Deployed, **parameters: str) -> Stack:
    """The stack as the policies see it, which ask nobody."""
    environment = deployed.environments["dispatcher"]
    stack = Stack(
        session=None,  # type: ignore[arg-type]  # the policies ask nobody
        name=environment["DEPLOYMENT"],
        arn=f"arn:aws:cloudformation:{deployed.region}:{deployed.account_id}:stack/demo/1",
        status="CREATE_COMPLETE",
        parameters=parameters,
        outputs={
            "LedgerTable": deployed.ledger_table,
            "MailboxTable": deployed.mailbox_table,
            "DispatcherFunction": deployed.function_names["dispatcher"],
            "TrackerFunction": deployed.function_names["tracker"],
            "ImageParameter": IMAGE_PARAMETER,
        },
    )
    vars(stack)["settings"] = Settings.from_environment(environment)
    return stack


@pytest.fixture(scope="module")
def _world() -> Iterator[Served]:
    with World(
        Plan(
            parameters=PARAMETERS,
            classes=CLASSES,
            pending=(SOON, SOON),
            pending_of={STAYS_PENDING: timedelta(hours=1)},
            operators=operators(),
        )
    ) as world:
        yield Served(world)


@pytest.fixture
def served(_world: Served) -> Iterator[Served]:
    """The stack `demo` in its region, with no job and no VM."""
    yield _world
    _world.tidy()
