"""What became of a day: each job's moments, each VM's times, and every request against its budget."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agent_stack.adapters.ec2.requests import CLASS_TAG, HOLD_TAG
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment
from tests.simulator.buildkite import JobState, Operation
from tests.simulator.buildkite.job import JobView
from tests.simulator.buildkite.operations import ENDPOINTS
from tests.simulator.buildkite.settings import RateLimits
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.prices import price
from tests.simulator.cloud.settings import LAUNCHES, READ_BUDGET, REQUEST_BUDGETS, TERMINATIONS, Budget
from tests.simulator.day.classes import said_of
from tests.simulator.day.world import SHUTTING_DOWN, DayWorld

OF_THE_WAIT = (Moment.RESERVED, Moment.LAUNCHED, Moment.VM_RUNNING, Moment.AGENT_STARTED)
"""The moments between the job's scheduling and its start, in order."""

LOST = "agent_lost"
"""Why a job ended, in Buildkite's word: its VM did, and the agent fell silent."""

INSTANCES = {"CreateFleet": ("instances launched", LAUNCHES), "TerminateInstances": ("instances ended", TERMINATIONS)}


def outcome(world: DayWorld) -> dict[str, Any]:
    """Everything that a report says, in seconds from the start."""
    runs = _latest_runs(world)
    bound: dict[str, Run] = {run.binding.instance_id: run for run in runs.values() if run.binding is not None}
    return {
        "seconds": _since(world, world.kernel.now()),
        "jobs": [_job(world, job, runs.get(job.id)) for job in world.buildkite.jobs() if job.id in world.job_ids],
        "vms": [_vm(world, instance, bound) for instance in world.ec2.instances()],
        "requests": [*_of_ec2(world), *_of_buildkite(world)],
        "dynamodb": {"write_units": world.rates.written, "turned_away": world.rates.turned_away},
        "functions": {function: sum(seconds) for function, seconds in sorted(world.billed.items())},
        "said": _said(world),
        "classes": [] if world.book is None else sorted(world.book.classes),
        "broken_classes": {} if world.book is None else _broken(world.book, world.request.classes_source),
        "skipped_cycles": world.skipped,
    }


def _broken(book: ClassBook, source: str) -> dict[str, str]:
    return {name: said_of(error, source) for name, error in sorted(book.broken.items())}


def _since(world: DayWorld, at: datetime) -> float:
    return round((at - world.request.start).total_seconds(), 3)


def _latest_runs(world: DayWorld) -> Mapping[str, Run]:
    return {run.job_id: run for run in (*world.store.history, *world.store.runs.values())}


def _job(world: DayWorld, job: JobView, run: Run | None) -> dict[str, Any]:
    asked = world.job_ids[job.id]
    started = job.entered(JobState.RUNNING)
    ended = next((at for state, at in reversed(job.timeline) if state in _OVER), None)
    scheduled = _since(world, job.created_at)
    latest = world.kernel.now() if started is None else started
    moments: list[float | None] = []
    for moment in OF_THE_WAIT:
        at = None if run is None else run.timeline.get(moment)
        # A standby VM was launched long before its job came, and an agent reports itself after it began the job.
        moments.append(None if at is None else max(scheduled, _since(world, min(at, latest))))
    return {
        "id": job.id,
        "queue": job.queue_key,
        "pipeline": asked.pipeline,
        "class": "" if run is None else run.class_name,
        "scheduled": scheduled,
        "moments": moments,
        "started": None if started is None else _since(world, started),
        "ended": None if ended is None else _since(world, ended),
        "state": str(job.state),
        "finished_by_stack": "" if job.stack_finish is None else job.stack_finish.detail,
        "lost": job.signal_reason == LOST,
        "told": job.notifications[-1].detail if job.notifications else "",
        "attempts": 0 if run is None else run.attempt,
        "standby": run is not None and run.binding is not None and run.binding.standby,
        "vm": None if run is None or run.binding is None else run.binding.instance_id,
    }


_OVER = frozenset({JobState.FINISHED, JobState.CANCELED, JobState.EXPIRED, JobState.TIMED_OUT})


def _vm(world: DayWorld, instance: Instance, bound: Mapping[str, Run]) -> dict[str, Any]:
    run = bound.get(instance.instance_id)
    at = None if run is None else run.timeline.get(Moment.BOUND)
    ended = None if instance.terminated_at is None else _since(world, instance.terminated_at - SHUTTING_DOWN)
    return {
        "id": instance.instance_id,
        "type": instance.instance_type,
        "zone": instance.zone,
        "capacity_type": instance.capacity_type,
        "class": instance.tags.get(CLASS_TAG, ""),
        "launched": _since(world, instance.launched_at),
        "running": _since(world, instance.running_at),
        "ended": ended,
        "standby": HOLD_TAG in instance.tags,
        "bound": None if at is None else _since(world, at),
        "model_usd_an_hour": price(instance.capacity_type, instance.instance_type, instance.zone),
    }


def _of_ec2(world: DayWorld) -> list[dict[str, Any]]:
    calls, refused = defaultdict[str, list[float]](list), Counter[str]()
    touched = defaultdict[str, list[tuple[float, int]]](list)
    for call in world.ec2.calls():
        at = _since(world, call.at)
        calls[call.action].append(at)
        refused[call.action] += call.code == "RequestLimitExceeded"
        if call.action == "TerminateInstances" and call.code is None:
            touched[call.action].append((at, len(call.request["InstanceIds"])))
    for at, count in sorted(Counter(_since(world, i.launched_at) for i in world.ec2.instances()).items()):
        touched["CreateFleet"].append((at, count))
    rows = [
        _bucket(f"EC2 {action}", [(at, 1) for at in times], REQUEST_BUDGETS.get(action, READ_BUDGET), refused[action])
        for action, times in sorted(calls.items())
    ]
    rows += [_bucket(f"EC2 {name}", touched[action], budget, 0) for action, (name, budget) in INSTANCES.items()]
    return rows


def _bucket(name: str, taken: Sequence[tuple[float, int]], budget: Budget, refused: int) -> dict[str, Any]:
    """How much of a token bucket was ever used."""
    left, before, least = budget.burst, taken[0][0] if taken else 0.0, budget.burst
    for at, count in taken:
        left = min(budget.burst, left + (at - before) * budget.refill_per_second) - count
        before, least = at, min(least, left)
    return {
        "name": name,
        "total": sum(count for _, count in taken),
        "busiest": _busiest([at for at, count in taken for _ in range(count)]),
        "budget": f"{budget.burst:g} at once, then {budget.refill_per_second:g}/s",
        "used_percent": round(100 * (1 - max(0.0, least) / budget.burst), 1),
        "refused": refused,
    }


def _of_buildkite(world: DayWorld) -> list[dict[str, Any]]:
    rates, rows = RateLimits(), []
    times, refused = defaultdict[Operation, list[float]](list), Counter[Operation]()
    for record in world.buildkite.access_log():
        if record.operation is not None:
            times[Operation(record.operation)].append(_since(world, record.at))
            refused[Operation(record.operation)] += record.status == 429
    times[Operation.LIST_SCHEDULED_JOBS] += [_since(world, at) for at in world.listed_at]
    for endpoint in ENDPOINTS:
        limit = endpoint.requests_per_second(rates)
        if limit is not None and times[endpoint.operation]:
            busiest = _busiest(sorted(times[endpoint.operation]))
            rows.append(
                {
                    "name": f"Buildkite {endpoint.operation.value.replace('_', ' ')}",
                    "total": len(times[endpoint.operation]),
                    "busiest": busiest,
                    "budget": f"{limit}/s for each queue",
                    "used_percent": round(100 * busiest / limit, 1),
                    "refused": refused[endpoint.operation],
                }
            )
    return list({row["name"]: row for row in rows}.values())


def _busiest(times: Sequence[float]) -> int:
    """Most within one second."""
    first, most = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def _said(world: DayWorld) -> list[dict[str, Any]]:
    """Warnings and errors that the functions logged, by message."""
    counted = Counter((level, message) for level, message, _ in world.telemetry.records if level != "INFO")
    return [{"level": level, "message": message, "times": times} for (level, message), times in sorted(counted.items())]
