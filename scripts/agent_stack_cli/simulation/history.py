"""The ledger's own history as a load, and as boot times: what ran on a deployed stack, as far as it is kept."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment, Outcome
from agent_stack_cli.errors import CliError
from agent_stack_cli.records import Records
from agent_stack_cli.simulation import boot_times
from agent_stack_cli.simulation.asked import Load, LoadJob
from agent_stack_cli.simulation.boot_times import BootTimes
from agent_stack_cli.stacks import Stack

HISTORY = "history"
HOURS = 24.0
NOTHING = "name another load, such as --load steady, or wait until jobs have ended"


def load_of(stack: Stack, *, hours: float | None) -> Load:
    """The jobs that a stack ran in the last hours.

    Raises:
        CliError: its ledger keeps none.
    """
    records = Records(stack=stack)
    return load_from(list(records.ended()), len(records.unreadable), name=stack.name, hours=hours)


def load_from(ended: Sequence[Run], unreadable: int, *, name: str, hours: float | None) -> Load:
    """The jobs of these runs, at the moments at which they came; the day begins with the hour of the first.

    Raises:
        CliError: there is none.
    """
    runs = {run.job_id: run for run in sorted(ended, key=lambda run: run.state_entered_at)}
    if not runs:
        raise CliError(f"the ledger of {name} keeps no job", next=NOTHING)
    last = max(run.waits_since for run in runs.values())
    since = last - timedelta(hours=hours or HOURS)
    kept = [run for run in runs.values() if run.waits_since >= since]
    start = min(run.waits_since for run in kept).replace(minute=0, second=0, microsecond=0)
    jobs = [_job(run, (run.waits_since - start).total_seconds()) for run in kept]
    unread = f"{unreadable} records of the ledger cannot be read, and are left out; run doctor"
    needed = (last - start) / timedelta(hours=1)
    return Load(
        said=f"{len(kept)} jobs that {name} ran from {start:%Y-%m-%d %H:%M} UTC on, as its ledger keeps them",
        jobs=tuple(sorted(jobs, key=lambda job: job.at)),
        hours=max(1.0, round(needed + 0.25, 2)),
        guesses=("jobs that no agent ran are taken as cancelled when they ended",),
        problems=(unread,) if unreadable else (),
    )


def boots_of(stack: Stack) -> BootTimes:
    """The boots that the ledger of a stack keeps.

    Raises:
        CliError: it keeps none.
    """
    return boots_from(Records(stack=stack).ended(), name=stack.name)


def boots_from(runs: Iterable[Run], *, name: str) -> BootTimes:
    """The boots of these runs, without those of standby VMs.

    Raises:
        CliError: there is none.
    """
    seconds = list(_boots(runs))
    if not seconds:
        raise CliError(f"the ledger of {name} keeps no boot of a VM", next="name --boots baked, stock or a file")
    return boot_times.measured(seconds, f"{len(seconds)} boots that the ledger of {name} keeps")


def _boots(runs: Iterable[Run]) -> Iterator[float]:
    for run in runs:
        launched, started = run.timeline.get(Moment.LAUNCHED), run.timeline.get(Moment.AGENT_STARTED)
        stood_by = run.binding is not None and run.binding.standby
        if launched is not None and started is not None and started > launched and not stood_by:
            yield (started - launched).total_seconds()


def _job(run: Run, at: float) -> LoadJob:
    began, ended = run.timeline.get(Moment.JOB_RUNNING), run.timeline.get(Moment.ENDED, run.state_entered_at)
    ran = 0.0 if began is None else max(0.0, (ended - began).total_seconds())
    unfinished = began is None or run.outcome is Outcome.CANCELLED
    waited = (ended - run.waits_since).total_seconds()
    name = re.split(r"[ /]", run.class_name)[0]  # without what the job chose, and without a fallback
    return LoadJob(
        at=round(at, 3),
        seconds=round(ran, 1),
        queue=run.queue_key,
        agents=(f"class={name}",) if name else (),
        priority=run.priority or None,
        pipeline=run.origin.pipeline_slug or "pipeline",
        cancel_at=round(at + max(0.0, waited), 3) if unfinished else None,
    )
