"""What `status`, `job`, `logs` and `connect` show of a stack."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.backoff import Backoff
from agent_stack.domain.breakers import ACCOUNT, Breaker
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import Bucket, ClassName, InstanceId, QueueKey
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.standby import Closing, StandbyVm
from agent_stack.domain.standby_trouble import Trouble
from agent_stack.domain.states import Outcome
from agent_stack.domain.unavailable import Refusal
from agent_stack.domain.waiting import Waiting, WaitingList, WaitReason, waiting_notice
from agent_stack.settings import Settings
from tests.cli.served import STAYS_PENDING, Served, job_id

pytestmark = pytest.mark.share(2)


def wait(number: int, reason: WaitReason, words: str = "") -> Waiting:
    return Waiting(
        job_id=job_id(number),
        queue_key=QueueKey("default"),
        class_name=ClassName("default"),
        reason=reason,
        words=words,
    )


def test_a_stack_without_jobs_says_so(served: Served) -> None:
    said = served.ok("status")
    assert "demo in eu-central-1" in said
    assert "none that has waited" in said
    seen = served.data("status")
    assert (seen["vms"], seen["jobs"], seen["waiting"]) == ([], [], [])
    assert [queue["queue"] for queue in seen["queues"]] == ["default", "linux.arm"]


def test_jobs_and_their_vms_are_shown_by_phase(served: Served) -> None:
    waits, boots = served.recorded(1), served.recorded(2)
    vm, spare = served.launched(), served.launched()
    served.bound(boots, vm)
    seen = served.data("status")
    assert {(job["job_id"], job["phase"], job["instance_id"]) for job in seen["jobs"]} == {
        (waits.job_id, "reserved", ""),
        (boots.job_id, "booting", vm.instance_id),
    }
    assert {(group["phase"], group["count"]) for group in seen["vms"]} == {("booting", 1), ("unbound", 1)}
    assert [b["taken"] for b in seen["budgets"] if "MaxInstances" in b["bound"]] == [2]
    assert spare.instance_id not in served.ok("status")
    assert vm.instance_id in served.ok("status")


def test_waiting_jobs_are_grouped_by_their_reason_in_the_words_of_the_build_page(served: Served) -> None:
    jobs = (wait(1, WaitReason.MAX_INSTANCES), wait(2, WaitReason.MAX_INSTANCES), wait(3, WaitReason.QUOTA, "32 vCPU"))
    served.ledger.list_waiting(WaitingList(at=datetime.now(UTC), jobs=jobs))
    seen = served.data("status")["waiting"]
    assert [(group["reason"], group["count"]) for group in seen] == [("max_instances", 2), ("quota", 1)]
    assert "all 100 VMs of this stack are taken (MaxInstances)" in served.ok("status")
    assert "32 vCPU" in served.ok("status")


def test_a_list_of_a_dispatcher_that_no_longer_runs_says_nothing(served: Served) -> None:
    old = datetime.now(UTC) - timedelta(minutes=5)
    served.ledger.list_waiting(WaitingList(at=old, jobs=(wait(1, WaitReason.QUOTA),)))
    assert served.data("status")["waiting"] == []


def test_what_is_left_alone_and_what_failed_is_shown(served: Served) -> None:
    now = datetime.now(UTC)
    breaker = Breaker(until=now + timedelta(minutes=2), since=now, failures=1, message="InvalidAMIID.NotFound: gone")
    served.ledger.remember_launches(LaunchMemory(breakers={ClassName("default"): breaker, ACCOUNT: breaker}), fence=1)
    served.log("dispatcher", "queue_not_listed", level="ERROR", queue="default", error="401 Unauthorized")
    said = served.ok("status")
    for words in ("class default", "account", "InvalidAMIID.NotFound: gone", "queue_not_listed", "401 Unauthorized"):
        assert words in said


def test_each_kind_of_lesson_that_holds_a_launch_back_is_shown_and_one_that_is_over_is_not(served: Served) -> None:
    now = datetime.now(UTC)
    soon, past = now + timedelta(minutes=1), now - timedelta(minutes=1)

    def backoff(until: datetime, message: str) -> Backoff:
        return Backoff(failures=1, since=past, until=until, message=message)

    def refusal(until: datetime, message: str) -> Refusal:
        return Refusal(since=past, until=until, message=message, listed=True)

    served.ledger.remember_launches(
        LaunchMemory(
            backoffs={
                "default|spot": backoff(soon, "Unsupported: whole"),
                "default|on-demand": backoff(past, "a backoff that is over"),
            },
            refused={
                "default|spot:m7i.large:*": refusal(soon, "InvalidParameterValue: type"),
                "default|spot:c7i.large:*": refusal(past, "a refusal that is over"),
            },
            quotas={
                Bucket("on-demand:standard"): Ceiling(most=2, refused_at=now, code="VcpuLimitExceeded", message=""),
            },
        ),
        fence=1,
    )
    found = {view["what"]: view["because"] for view in served.data("status")["breakers"]}
    assert found["class default, spot"] == "Unsupported: whole"
    assert found["class default, spot:m7i.large:*"] == "InvalidParameterValue: type"
    assert found["quota on-demand:standard"].startswith("VcpuLimitExceeded “Running On-Demand Standard")
    assert len(found) == 3


def test_text_from_outside_neither_colours_nor_moves_anything(served: Served) -> None:
    """EC2's words, a VM's and a pipeline's may hold escapes, markup and direction marks."""
    evil = "[red]x[/red] \x1b[31m\x1b]0;title\x07 \u202eback\r\nnew"
    now = datetime.now(UTC)
    breaker = Breaker(until=now + timedelta(minutes=2), since=now, failures=1, message=evil)
    served.ledger.remember_launches(LaunchMemory(breakers={ClassName("default"): breaker}), fence=1)
    run = served.recorded(1, pipeline="[bold]p\x1b[2J")
    served.log("tracker", "job_failed_by_stack", level="ERROR", job_id=run.job_id, reason=evil)
    for said in (served.ok("status"), served.ok("job", run.job_id), served.ok("logs", run.job_id)):
        assert not set(said) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "[red]x[/red]" in served.ok("status")
    assert "[bold]p" in served.ok("job", run.job_id)


def test_watching_looks_again(served: Served) -> None:
    said = served.ok("status", "--watch", "--every", "1", "--times", "2")
    assert said.count("demo in eu-central-1") == 2


# --- one job ---


def test_the_story_of_a_job_has_its_steps_and_their_seconds(served: Served) -> None:
    run = served.bound(served.recorded(1, build=42), served.launched())
    served.log("dispatcher", "job_bound", job_id=run.job_id, attempt=1)
    served.log("tracker", "run_decided", job_id=run.job_id, action="extend", reason="its boot takes long")
    story = served.data("job", run.job_id)
    (shown,) = story["runs"]
    assert [step["step"] for step in shown["timeline"]] == [
        "the job was scheduled at Buildkite",
        "the dispatcher recorded it",
        "the dispatcher reserved it",
        "EC2 launched the VM",
        "the dispatcher gave it the VM",
    ]
    assert shown["timeline"][1]["seconds"] == pytest.approx(2, abs=0.1)
    assert story["vm"]["instance_id"] == run.binding.instance_id  # type: ignore[union-attr]  # it is bound
    assert [line["message"] for line in story["decisions"]] == ["job_bound", "run_decided"]
    said = served.ok("job", run.job_id)
    assert "reason: its boot takes long" in said
    assert "build 42 of app" in said
    assert "+2.0" in said
    assert "https://eu-central-1.console.aws.amazon.com/cloudwatch" in said


@pytest.mark.parametrize("reason", list(WaitReason))
def test_a_job_that_waits_says_what_its_build_page_says(served: Served, reason: WaitReason) -> None:
    job = wait(1, reason, "words")
    served.ledger.list_waiting(WaitingList(at=datetime.now(UTC), jobs=(job,)))
    story = served.data("job", job.job_id)
    settings = Settings.from_environment(served.world.deployed.environments["dispatcher"])
    assert story["waits"] == waiting_notice(job, settings.policy).text
    assert story["waits"] in served.ok("job", job.job_id)


def test_a_job_is_found_by_its_url_and_by_its_build(served: Served) -> None:
    run = served.recorded(1, pipeline="app", build=42)
    served.recorded(2, pipeline="app", build=43)
    for url in (
        f"https://buildkite.com/acme/app/builds/42#{run.job_id}",
        f"https://buildkite.com/acme/app/builds/42/jobs/{run.job_id}/log",
        "https://buildkite.com/acme/app/builds/42",
    ):
        assert served.data("job", url)["job_id"] == run.job_id
    served.recorded(3, pipeline="app", build=42)
    result = served.run("job", "https://buildkite.com/acme/app/builds/42")
    assert result.exit_code == 1
    assert "that build has 2 jobs" in result.stderr
    assert f"Next: agent-stack job {run.job_id}" in result.stderr


def test_an_ended_job_tells_its_end_and_what_was_tried(served: Served) -> None:
    now = datetime.now(UTC)
    run = served.bound(served.recorded(1), served.launched())
    failure = Failure(kind=FailureKind.SPOT, words="taken back")
    (again,) = served.ledger.update([run.requeued(failure, now=now)])
    (failed,) = served.ledger.update([again.finishing("No VM of class “default” could be had.", now=now)])
    served.ledger.end([failed.ended(Outcome.FAILED, now=now)])
    story = served.data("job", run.job_id)
    assert "No VM of class “default” could be had." in story["summary"]
    (shown,) = story["runs"]
    assert (shown["outcome"], len(shown["tried"])) == ("failed", 1)
    assert shown["timeline"][-1]["step"] == "the stack was done with it"
    assert shown["tried"][0].endswith("EC2 interrupted it (spot)")
    assert story["next"] == f"agent-stack logs {run.job_id} --stack demo"


def test_a_job_that_no_class_fits_says_so(served: Served) -> None:
    served.log("dispatcher", "job_ignored", job_id=job_id(9), reason="no class offers gpu=a100")
    story = served.data("job", job_id(9))
    assert story["summary"] == "No class fits this job: no class offers gpu=a100"
    assert story["next"].startswith("agent-stack classes explain")


@pytest.mark.parametrize("named", ["42", "https://buildkite.com/acme/app", ""])
def test_what_is_no_job_is_said_with_an_example(served: Served, named: str) -> None:
    result = served.run("job", named)
    assert result.exit_code == 1
    assert "Next: copy the URL" in result.stderr


# --- logs and connect ---


def test_logs_are_those_of_the_functions_and_of_the_vm_in_order(served: Served) -> None:
    run = served.bound(served.recorded(1), served.launched())
    served.log("dispatcher", "job_bound", job_id=run.job_id)
    served.log("tracker", "vm_terminated", instance_id=run.binding.instance_id)  # type: ignore[union-attr]  # it is bound
    served.log("tracker", "job_bound", job_id=job_id(77))
    assert [line["message"] for line in served.data("logs", run.job_id)] == ["job_bound", "vm_terminated"]


def test_connect_prints_the_session_managers_command_for_a_vm_that_runs(served: Served) -> None:
    run = served.bound(served.recorded(1), served.launched())
    vm = run.binding.instance_id  # type: ignore[union-attr]  # it is bound
    served.runs(vm)
    assert served.ok("connect", run.job_id).strip() == f"aws ssm start-session --target {vm} --region eu-central-1"


def test_connect_to_a_vm_that_does_not_run_yet_says_so(served: Served) -> None:
    run = served.bound(served.recorded(1), served.launched(STAYS_PENDING))
    pending = served.run("connect", run.job_id)
    assert pending.exit_code == 1
    assert "is pending" in pending.stderr


@pytest.mark.parametrize("named", ["i-0fedcba9876543210", "i-0fedcba9"])
def test_connect_to_a_vm_that_is_not_one_of_the_stack_says_so(served: Served, named: str) -> None:
    result = served.run("connect", named)
    assert result.exit_code == 1
    assert f"VM {named} is gone, or it is none of demo" in result.stderr
    assert "Next: agent-stack status --stack demo" in result.stderr


def test_connect_to_a_vm_by_its_id_that_does_not_run_yet_says_so(served: Served) -> None:
    result = served.run("connect", served.launched(STAYS_PENDING).instance_id)
    assert result.exit_code == 1
    assert "is pending" in result.stderr
    assert "Next: agent-stack status --stack demo" in result.stderr


def test_connect_to_a_job_that_never_had_a_vm_says_so(served: Served) -> None:
    run = served.recorded(1)
    result = served.run("connect", run.job_id)
    assert "has had no VM" in result.stderr
    assert "Next: agent-stack job" in result.stderr


def test_a_held_vm_is_an_instance_that_nobody_lost_and_the_page_says_how_to_connect(served: Served) -> None:
    for earlier in served.world.ec2.instances():
        served.gone(earlier.instance_id)
    vm, spare = served.launched(), served.launched()
    served.runs(vm.instance_id)
    until = datetime.now(UTC) + timedelta(minutes=30)
    hold = Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName("default"), until=until)
    gone = replace(hold, instance_id=InstanceId("i-0fedcba9876543210"))
    assert served.ledger.record_holds(Holds(version=1, vms=(hold, gone)))
    seen = served.data("status")
    assert {(group["phase"], group["count"]) for group in seen["vms"]} == {("held", 1), ("unbound", 1)}
    assert [b["taken"] for b in seen["budgets"] if "MaxInstances" in b["bound"]] == [2]
    (shown,) = seen["held"]
    assert shown["instance_id"] == vm.instance_id
    assert shown["connect"] == f"aws ssm start-session --target {vm.instance_id} --region eu-central-1"
    assert served.ok("connect", vm.instance_id).strip() == shown["connect"]
    assert vm.instance_id in served.ok("status")
    assert spare.instance_id not in served.ok("status")


def test_vms_that_stand_by_are_no_vms_without_a_run_and_a_suspended_class_says_why(served: Served) -> None:
    for earlier in served.world.ec2.instances():
        served.gone(earlier.instance_id)
    name, hold = ClassName("default"), timedelta(hours=4)
    idle, closed, _ = (served.launched() for _ in range(3))
    listed = [StandbyVm.of(vm, class_name=name, hold=hold, shape="") for vm in (idle, closed)]
    served.standby.add(listed)
    assert served.standby.close([replace(listed[1], closing=Closing.AGE)])
    now = datetime.now(UTC)
    served.ledger.remember_launches(
        LaunchMemory(standby={name: Trouble(at=now).missed(3, latest=now, now=now)}), fence=1_000
    )
    seen = served.data("status")
    phases = {(group["phase"], group["count"]) for group in seen["vms"]}
    assert phases == {("standby", 1), ("ending", 1), ("unbound", 1)}
    (alone,) = [one for one in seen["breakers"] if one["what"] == "standby VMs of class default"]
    assert "did not take their jobs" in alone["because"]
