"""How many requests 2,500 jobs cost in each dialect, beside the fewest that the API's limits allow.

1,500 jobs that no class fits wait ahead of 1,000 that one does. Every job is listed, the fitting ones are reserved,
looked up and told of, the others are finished with a reason. Nothing is timed; requests are counted at the server.
"""

import math
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from agent_stack.domain.classes import ClassBook, Unmatched, VmClass
from agent_stack.domain.identifiers import ClassName, JobId
from agent_stack.domain.jobs import Job
from agent_stack.ports import Notification
from tests.contract.stacks import LEASE, QUEUE, Desk, a_desk
from tests.simulator.buildkite import Dialect, Operation, Step
from tests.simulator.buildkite.rules import Rule

UNMATCHABLE, MATCHABLE = 1_500, 1_000
PER_REQUEST = 1_000
BOOK = ClassBook(
    classes={ClassName("small"): VmClass(name=ClassName("small"), instance_types=("m7i.large",), image="ami-0")},
    default=ClassName("small"),
)
OPERATIONS = (
    Operation.LIST_SCHEDULED_JOBS,
    Operation.RESERVE_JOBS,
    Operation.GET_JOB_STATES,
    Operation.NOTIFY,
    Operation.FINISH_JOB,
)


def fewest(dialect: Dialect) -> dict[Operation, int]:
    """What the limits allow at best.

    The preview dialect shows one page only: each further one takes another listing, after the jobs on it are gone.
    """
    pages = math.ceil((UNMATCHABLE + MATCHABLE) / PER_REQUEST)
    batch = math.ceil(MATCHABLE / PER_REQUEST)
    return {
        Operation.LIST_SCHEDULED_JOBS: pages,
        Operation.RESERVE_JOBS: batch,
        Operation.GET_JOB_STATES: batch,
        Operation.NOTIFY: batch if dialect is Dialect.CURRENT else MATCHABLE,
        Operation.FINISH_JOB: UNMATCHABLE,
    }


def listed(desk: Desk) -> list[Job]:
    """Every job that can be seen without changing anything."""
    jobs: list[Job] = []
    cursor: str | None = None
    while True:
        page = desk.client.list_scheduled(QUEUE, cursor=cursor)
        jobs += page.jobs
        cursor = page.next_cursor
        if cursor is None:
            return jobs


def counted(desk: Desk) -> dict[Operation, int]:
    """Requests so far, by operation."""
    return {operation: desk.requests(operation) for operation in OPERATIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the jobs took in one dialect.

    Attributes:
        used: requests by operation.
        refused: requests that were answered with 429.
        unseen: fitting jobs out of sight while those that fit nowhere are left alone.
    """

    dialect: Dialect
    used: Mapping[Operation, int]
    reserved: int
    looked_up: int
    untold: int
    refused: int
    unseen: int

    @property
    def good(self) -> bool:
        """Whether no limit was broken and every fitting job was reserved."""
        return not self.refused and self.reserved == MATCHABLE


def measured(dialect: Dialect) -> Asked:
    """Play the jobs in one dialect."""
    with ExitStack() as stack:
        desk = a_desk(stack, served=dialect).registered()
        desk.push(*(Step(agents=["class=none"]) for _ in range(UNMATCHABLE)))
        desk.push(*(Step() for _ in range(MATCHABLE)))
        before = counted(desk)
        first_look: int | None = None
        reserved: list[JobId] = []
        while jobs := listed(desk):
            fits = [job.job_id for job in jobs if not isinstance(BOOK.match(job.rules, QUEUE), Unmatched)]
            first_look = len(fits) if first_look is None else first_look
            for job in jobs:
                if job.job_id not in set(fits) and isinstance(reason := BOOK.match(job.rules, QUEUE), Unmatched):
                    desk.client.finish(QUEUE, job.job_id, exit_status=-1, detail=reason.reason)
            if fits:
                reserved += desk.client.reserve(QUEUE, fits, LEASE).reserved
        states = desk.client.job_states(QUEUE, reserved)
        now = desk.clock.now()
        untold = desk.client.notify(QUEUE, [Notification(job_id=job, text="Starting", at=now) for job in reserved])
        used = {operation: count - before[operation] for operation, count in counted(desk).items()}
        refused = [violation for violation in desk.buildkite.violations() if violation.rule is Rule.RATE_LIMIT]
    return Asked(
        dialect=dialect,
        used=used,
        reserved=len(reserved),
        looked_up=len(states.states),
        untold=len(untold),
        refused=len(refused),
        unseen=MATCHABLE - (first_look or 0),
    )


def run(dialect: Dialect) -> bool:
    """Print one dialect's table; whether no limit was broken."""
    asked = measured(dialect)
    sys.stdout.write(f"{dialect}: {asked.reserved} reserved, {asked.looked_up} looked up, {asked.untold} untold\n")
    for operation, least in fewest(dialect).items():
        sys.stdout.write(f"  {operation:<22} {asked.used[operation]:>5} requests, {least:>5} at the least\n")
    sys.stdout.write(f"  answered with 429: {asked.refused}\n")
    sys.stdout.write(f"  fitting jobs out of sight while those that fit nowhere are left alone: {asked.unseen}\n")
    return asked.good


def main() -> int:
    """Both dialects; the exit status."""
    good = [run(dialect) for dialect in Dialect]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
