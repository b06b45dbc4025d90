"""The verdict of true runs and drills: each way in which something is doubled, lost or left is seen."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.ec2.requests import INTENT_TAG
from tests.simulator.buildkite import Buildkite, JobState, JobView, Operation, Step
from tests.simulator.buildkite.access_log import AccessRecord, Actor
from tests.simulator.buildkite.job import Notification, StackFinish
from tests.simulator.clock import EPOCH
from tests.simulator.cloud import Instance
from tests.simulator.demo.pipeline import Cancel, Demo, Ran
from tests.simulator.true_runs.judgement import problems_of_job, problems_of_vms
from tests.simulator.true_runs.patience import Patience

VM = "i-1"
SECOND = timedelta(seconds=1)


def a_job(**changes: Any) -> JobView:  # noqa: ANN401  (the fields' own)
    """A job that an agent ran on that VM."""
    buildkite = Buildkite(now=lambda: EPOCH)
    buildkite.create_build(steps=[Step(label="job")])
    (job,) = buildkite.jobs()
    ran: dict[str, Any] = {"state": JobState.FINISHED, "exit_status": 0, "agent_name": f"demo-{VM}"}
    return replace(job, **{**ran, **changes})


def granted(*operations: Operation) -> list[AccessRecord]:
    return [
        AccessRecord(at=EPOCH, method="PUT", path="/", query="", status=200, operation=operation, actor=Actor())
        for operation in operations
    ]


ACQUIRED = granted(Operation.AGENT_ACQUIRE_JOB)


def told(*texts: str) -> tuple[Notification, ...]:
    return tuple(Notification(at=EPOCH, detail=text) for text in texts)


def verdict(
    job: JobView,
    *,
    demo: Demo | None = None,
    log: Sequence[AccessRecord] = ACQUIRED,
    vms: Sequence[str] = (VM,),
    killed: Sequence[str] = (),
) -> str:
    return "; ".join(problems_of_job(job, demo or Demo(), log, vms=vms, killed=killed, attempts=2))


def test_a_job_that_ran_once_is_as_it_should_be() -> None:
    assert verdict(a_job(notifications=told("booting", "running"))) == ""
    assert verdict(a_job(exit_status=3), demo=Demo(expect=Ran(exit_status=3))) == ""
    assert verdict(a_job(state=JobState.CANCELED), demo=Demo(cancel=Cancel.RUNNING)) == ""


GIVEN_UP = StackFinish(at=EPOCH, stack_key="s", exit_status=-1, detail="2 VMs failed")


@pytest.mark.parametrize(
    ("job", "given", "found"),
    [
        (a_job(), {"log": ACQUIRED * 2}, "acquired 2 times"),
        (a_job(), {"log": [*ACQUIRED, *granted(Operation.FINISH_JOB)]}, "finished 1 times by the stack"),
        (a_job(), {"log": granted(*[Operation.FINISH_JOB] * 2)}, "finished 2 times by the stack"),
        (a_job(), {"vms": ["i-1", "i-2", "i-3"]}, "had 3 VMs, at most 2"),
        (a_job(), {"vms": []}, "no VM"),
        (a_job(reserved_by="s"), {}, "still reserved"),
        (a_job(notifications=told("booting", "booting")), {}, "told 2 times: booting"),
        (a_job(notifications=told(*map(str, range(30)))), {}, "told 30 lines"),
        (a_job(exit_status=1), {}, "exit 1"),
        (a_job(exit_status=-1, signal_reason="agent_lost"), {}, "agent_lost"),
        (a_job(state=JobState.RUNNING, exit_status=None), {}, "is running"),
        (a_job(), {"demo": Demo(cancel=Cancel.BOOTING)}, "not canceled"),
        (a_job(exit_status=-1, stack_finish=GIVEN_UP), {"log": granted(Operation.FINISH_JOB)}, "2 VMs failed"),
    ],
)
def test_what_is_not_as_it_should_be_is_said(job: JobView, given: dict[str, Any], found: str) -> None:
    assert found in verdict(job, **given)


def test_a_job_may_be_lost_with_a_vm_that_was_killed_and_given_up_when_its_attempts_are_used() -> None:
    lost = a_job(exit_status=-1, signal_reason="agent_lost")
    assert verdict(lost, killed=[VM]) == ""
    assert "agent_lost" in verdict(lost, killed=["i-2"])
    given_up = a_job(exit_status=-1, stack_finish=GIVEN_UP)
    assert verdict(given_up, log=granted(Operation.FINISH_JOB), vms=["i-1", "i-2"]) == ""


def a_vm(number: int, *, state: str = "terminated", lived: tuple[int, int] = (0, 10)) -> Instance:
    return Instance(
        instance_id=f"i-{number}",
        instance_type="m7i.large",
        zone="z",
        subnet_id="s",
        capacity_type="spot",
        image_id="ami",
        user_data=b"",
        tags={INTENT_TAG: "as-1"},
        launched_at=EPOCH + lived[0] * SECOND,
        running_at=EPOCH,
        state=state,
        terminated_at=EPOCH + lived[1] * SECOND,
    )


def verdict_on_vms(*vms: Instance, strangers: Sequence[str] = ()) -> list[str]:
    return list(problems_of_vms(vms, most=1, strangers=strangers, ending=SECOND))


def test_vms_at_once_are_counted_and_one_that_shuts_down_makes_room() -> None:
    one_after_the_other = [a_vm(1), a_vm(2, lived=(9, 20))]
    assert verdict_on_vms(*one_after_the_other) == []
    assert verdict_on_vms(*one_after_the_other, a_vm(3, lived=(8, 10))) == ["2 VMs at once, at most 1 may be"]


def test_somebody_elses_vm_must_be_left_alone() -> None:
    assert verdict_on_vms(a_vm(1, state="running"), strangers=["i-1"]) == []
    assert verdict_on_vms(a_vm(1), strangers=["i-1"]) == ["i-1 is none of ours and is terminated"]


def test_patience_ends_by_looks_and_hardly_by_a_machine_that_stands_still() -> None:
    looks = iter([0.0, 1.0, 2.0, 500.0, 501.0, 501.5])
    patience = Patience(4.0, monotonic=lambda: next(looks))
    assert [patience.lasts() for _ in range(4)] == [True, True, True, False]
