"""Requests that this stack's roles must be allowed, and requests that they must be denied, with a name for each."""

from dataclasses import dataclass

from tests.infra.requests import both, dispatcher, job, schedules, tracker, vm
from tests.infra.required_actions import DISPATCHER, JOB, TRACKER, VM
from tests.simulator.deployment import Resolved
from tests.simulator.iam import Asked

SCHEDULER = "SchedulerRole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of one role: allowed when everything is that it asks."""

    name: str
    role: str
    asked: tuple[Asked, ...]
    allowed: bool


def requests(stack: Resolved) -> list[Request]:
    """All of them; `stack` says what is called how."""
    kinds = {
        (True, DISPATCHER): [*both.ledger(), *both.settings(), *dispatcher.launches(stack), *dispatcher.allowed()],
        (False, DISPATCHER): [
            *both.others_tables(),
            *both.others_settings(),
            *dispatcher.foreign_launches(stack),
            *dispatcher.denied(),
        ],
        (True, TRACKER): [*both.ledger(), *both.settings(), *tracker.allowed()],
        (False, TRACKER): [*both.others_tables(), *both.others_settings(), *tracker.denied()],
        (True, VM): list(vm.allowed()),
        (False, VM): list(vm.denied()),
        (True, JOB): list(job.allowed()),
        (False, JOB): list(job.denied()),
        (True, SCHEDULER): list(schedules.allowed()),
        (False, SCHEDULER): list(schedules.denied()),
    }
    return [
        Request(name=name, role=role, asked=asked if isinstance(asked, tuple) else (asked,), allowed=allowed)
        for (allowed, role), named in kinds.items()
        for name, asked in named
    ]
