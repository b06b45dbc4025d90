"""Job environment: reads the class of a job from its environment when its agent query rules name none.

This costs one request for each job. So it is off by default, reads each job once, and is bounded for each cycle. A few
readers work beside the cycle. A job that cannot be read is asked about again later and later, after the jobs that were
not read yet, so it delays no other job.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.classes import ANY, CLASS_RULE
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.jobs import Job
from agent_stack.domain.moments import is_due
from agent_stack.ports import StacksApi, Task, Telemetry, Workers

CLASS_VARIABLE = "AGENT_STACK_EC2_CLASS"
JOBS_PER_CYCLE = 100
READERS = 4
"""Half of the worker threads: the others stay free for requests to EC2."""

ANSWER_TIMEOUT = timedelta(seconds=1)
"""How long a cycle waits for its readers. What comes later counts in a later cycle."""

FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=2), timedelta(minutes=2)

Found = list[tuple[JobId, tuple[str, ...] | AgentStackError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """A job that could not be read: how often in a row, and when it is asked about again."""

    count: int
    retry_at: datetime


@dataclass(slots=True, kw_only=True)
class ReadJobEnvironment:
    """Adds the class of the environment as a rule. A job that is not read yet waits for the next cycle."""

    stacks: StacksApi
    workers: Workers
    telemetry: Telemetry
    _rules: dict[JobId, tuple[str, ...]] = field(default_factory=dict, init=False)
    _failed: dict[JobId, _Failed] = field(default_factory=dict, init=False)
    _reading: list[tuple[frozenset[JobId], Task[Found]]] = field(default_factory=list, init=False)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Rewrites `listed`."""
        unclear = {j.job_id: j for j in cycle.listed if not _names_a_class(j) and j.queue_key not in cycle.paused}
        listed = {job.job_id for job in cycle.listed}
        self._collect(cycle.now)
        self._rules = {job_id: rules for job_id, rules in self._rules.items() if job_id in listed}
        self._failed = {job_id: failed for job_id, failed in self._failed.items() if job_id in listed}
        self._begin(self._due(unclear.values(), cycle.now))
        if self._reading:
            self.workers.wait([task for _, task in self._reading], ANSWER_TIMEOUT)
            self._collect(cycle.now)
        known = [
            replace(job, rules=job.rules + self._rules.get(job.job_id, ()))
            for job in cycle.listed
            if job.job_id not in unclear or job.job_id in self._rules
        ]
        return replace(cycle, listed=tuple(known))

    def _due(self, unclear: Iterable[Job], now: datetime) -> list[Job]:
        """The jobs to ask about now: first those that were never asked about, urgent ones before others."""
        under_way = frozenset[JobId]().union(*(job_ids for job_ids, _ in self._reading))
        unread = [job for job in unclear if job.job_id not in self._rules and job.job_id not in under_way]
        new = sorted((job for job in unread if job.job_id not in self._failed), key=lambda job: -job.priority)
        again = [
            job
            for job in unread
            if job.job_id in self._failed and is_due(self._failed[job.job_id].retry_at, now, longest=LONGEST_RETRY)
        ]
        return [*new, *again][: JOBS_PER_CYCLE - len(under_way)]

    def _begin(self, jobs: Sequence[Job]) -> None:
        """Divides the jobs among the readers that are free."""
        free = max(0, READERS - len(self._reading))
        for number in range(min(free, len(jobs))):
            share = jobs[number::free]
            task = self.workers.submit(partial(_read, self.stacks, share))
            self._reading.append((frozenset(job.job_id for job in share), task))

    def _collect(self, now: datetime) -> None:
        done = [task for _, task in self._reading if task.done()]
        self._reading = [(job_ids, task) for job_ids, task in self._reading if not task.done()]
        for task in done:
            for job_id, found in task.result():
                if isinstance(found, AgentStackError):
                    self._retry_later(job_id, found, now)
                else:
                    self._failed.pop(job_id, None)
                    self._rules[job_id] = found

    def _retry_later(self, job_id: JobId, error: AgentStackError, now: datetime) -> None:
        """A job that is gone is not listed any more either; its failure is forgotten then."""
        count = self._failed[job_id].count + 1 if job_id in self._failed else 1
        pause = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(count - 1, 10))
        self._failed[job_id] = _Failed(count=count, retry_at=now + pause)
        if count > 1:
            return  # logged once a job, because it may stay so for long
        self.telemetry.info("job_environment_not_read", job_id=job_id, error=str(error))


def _names_a_class(job: Job) -> bool:
    """Whether a rule names a class; `class=*` and silence leave it to the environment."""
    rules = (rule.partition("=") for rule in job.rules)
    return any(key.strip() == CLASS_RULE and value.strip() != ANY for key, _, value in rules)


def _read(stacks: StacksApi, jobs: Sequence[Job]) -> Found:
    """What the environments of these jobs add to their rules; of each that cannot be read, why."""
    found: Found = []
    for job in jobs:
        try:
            named = stacks.job_details(job.queue_key, job.job_id).env.get(CLASS_VARIABLE, "").strip()
        except AgentStackError as error:
            found.append((job.job_id, error))
        else:
            found.append((job.job_id, (f"{CLASS_RULE}={named}",) if named else ()))
    return found
