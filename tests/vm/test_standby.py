"""A VM that stands by: prepared before it has a job, starts at once when it gets one, and ends when nobody needs it."""

from pathlib import Path

import pytest

from tests.simulator.vm.process import LocalVm
from tests.vm.harness import BUCKET, VmHarness, arn, wait_for
from tests.vm.test_boot_program import POWER_OFF

pytestmark = [pytest.mark.e2e, pytest.mark.share(4)]

POLL = "dynamodb:GetItem"
TIMERS = ("agent-stack-lifetime", "agent-stack-standby", "agent-stack-job")
TELLS, LOGS_IN = "dynamodb:UpdateItem booting", "ecr:GetAuthorizationToken"


def stands_by(vm: LocalVm) -> bool:
    return "agent-stack: stands by" in vm.console()


def close(harness: VmHarness, instance_id: str) -> None:
    """As the dispatcher closes an idle VM: an item without a job."""
    harness.aws.dynamodb.put_item(
        TableName=harness.aws.deployed.mailbox_table,
        Item={"instance_arn": {"S": arn(instance_id)}, "closed": {"N": "1"}},
    )


def logged(harness: VmHarness, group: str, instance_id: str) -> list[str]:
    logs = harness.aws.client("logs")
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=instance_id)["logStreams"]
    answers = [logs.get_log_events(logGroupName=group, logStreamName=one["logStreamName"]) for one in streams]
    return [event["message"] for answer in answers for event in answer["events"]]


def timers(harness: VmHarness, vm: LocalVm) -> list[str]:
    wanted = (*TIMERS, *(f"systemctl stop {timer}.timer" for timer in TIMERS))
    return [step for step in harness.steps(vm) if step in wanted]


def asked(harness: VmHarness, vm: LocalVm) -> list[str]:
    """Its requests that may take long, and its report before them."""
    return [step for step in harness.steps(vm) if step == TELLS or step.startswith(("ssm:", "ecr:"))]


def test_it_prepares_first_then_waits_and_takes_its_job_within_a_second(harness: VmHarness) -> None:
    harness.aws.client("s3").put_object(Bucket=BUCKET, Key="bootstrap", Body=b"#!/bin/sh\necho bootstrapped\n")
    vm = harness.boot("i-2001", hold=600, header={"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap"})
    wait_for(lambda: stands_by(vm))
    assert "bootstrapped" in vm.console()
    assert harness.mail("i-2001") == {}, "nothing of it is written before it has a job"
    prepared = len(harness.steps(vm))
    job_id, token = harness.reserve("echo hot; sleep 1")
    harness.fill("i-2001", job_id, token)
    harness.ended(vm)
    assert harness.output(job_id) == "hot\n"
    after = [step for step in harness.steps(vm)[prepared:] if step != POLL]
    assert after == [
        "agent-stack-job",
        "systemctl stop agent-stack-standby.timer",
        "dynamodb:UpdateItem credential_taken",
        "agent-stack-agent",
        "dynamodb:UpdateItem agent_started",
        "dynamodb:UpdateItem agent_exited",
        POWER_OFF,
    ], "all that does not depend on the job was done before it"


def test_it_has_a_timer_for_its_hold_and_its_job_together_and_then_for_its_job_alone(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-2002", job_id, token)
    vm = harness.boot("i-2002", hold=600, header={"MAX_LIFETIME_SECONDS": "300"})
    harness.ended(vm)
    assert timers(harness, vm) == [
        "agent-stack-lifetime",
        "agent-stack-standby",
        "systemctl stop agent-stack-lifetime.timer",
        "agent-stack-job",
        "systemctl stop agent-stack-standby.timer",
    ]
    armed = [line.split("--on-active=")[1].split()[0] for line in vm.effects() if "--on-active=" in line]
    assert armed == ["300s", "900s", "300s"]


def test_without_a_job_it_goes_when_its_hold_is_over_and_writes_nothing(harness: VmHarness) -> None:
    vm = harness.boot("i-2003", hold=3)
    harness.ended(vm)
    assert "no job within 3 s" in vm.console()
    assert harness.mail("i-2003") == {}
    assert "failed" not in vm.console()


def test_its_unassigned_timeout_is_not_what_ends_it(harness: VmHarness) -> None:
    vm = harness.boot("i-2004", hold=6, header={"UNASSIGNED_TIMEOUT_SECONDS": "2"})
    harness.ended(vm)
    assert "no job within 6 s" in vm.console()


def test_its_lifetime_ends_one_that_hangs_while_it_prepares(harness: VmHarness) -> None:
    harness.aws.client("s3").put_object(Bucket=BUCKET, Key="bootstrap", Body=b"#!/bin/sh\nsleep 7\n")
    header = {"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap", "MAX_LIFETIME_SECONDS": "2"}
    vm = harness.boot("i-2005", hold=2, header=header)
    harness.ended(vm)
    assert not stands_by(vm)


def test_a_closed_mailbox_ends_it_quietly_within_a_second(harness: VmHarness) -> None:
    group = "/agent-stack/stack/vms"
    vm = harness.boot("i-2006", hold=600, header={"LOG_GROUP": group})
    wait_for(lambda: stands_by(vm))
    wait_for(lambda: "stands by" in logged(harness, group, "i-2006"))  # how it was prepared can be read while it waits
    close(harness, "i-2006")
    harness.ended(vm, seconds=5)
    assert "closed: this VM is not needed any more" in vm.console()
    assert harness.mail("i-2006").keys() == {"instance_arn", "closed"}


def test_a_job_that_came_while_it_prepared_beyond_its_hold_is_found(harness: VmHarness) -> None:
    """The mailbox is read at least once after the preparation, and consistently."""
    harness.aws.client("s3").put_object(Bucket=BUCKET, Key="bootstrap", Body=b"#!/bin/sh\nsleep 3\n")
    job_id, token = harness.reserve("true")
    harness.fill("i-2007", job_id, token)
    vm = harness.boot("i-2007", hold=1, header={"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap"})
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"


def test_a_preparation_that_fails_is_told_where_there_is_a_job_and_only_there(harness: VmHarness) -> None:
    harness.aws.client("s3").put_object(Bucket=BUCKET, Key="bootstrap", Body=b"#!/bin/sh\nexit 7\n")
    header = {"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap"}
    job_id, token = harness.reserve("true")
    harness.fill("i-2008", job_id, token)
    for instance_id in ("i-2008", "i-2009"):
        vm = harness.boot(instance_id, hold=600, header=header)
        harness.ended(vm)
        assert "bootstrap script ended with code 7" in vm.console()
    assert harness.mail("i-2008")["stage"] == "failed"
    assert "credential" in harness.mail("i-2008"), "the job goes to another VM at once"
    assert harness.mail("i-2009") == {}


def test_a_spot_notice_ends_it_while_it_waits(harness: VmHarness) -> None:
    vm = harness.boot("i-2010", hold=600)
    wait_for(lambda: stands_by(vm))
    harness.interrupt("i-2010")
    harness.ended(vm, seconds=10)
    assert "spot notice" in vm.console()
    assert harness.mail("i-2010") == {}


def test_a_job_that_comes_with_a_spot_notice_is_handed_back_at_once(harness: VmHarness) -> None:
    vm = harness.boot("i-2011", hold=600, environment={"SPOT_POLL_SECONDS": "0"})
    wait_for(lambda: stands_by(vm))
    job_id, token = harness.reserve("true")
    looks: list[str] = []

    def meanwhile(_: str, step: str) -> None:
        """The notice comes after a look for one, so that the next finds it; the job, before that one ends."""
        if "GetItem" in step:
            looks.append(step)
            if len(looks) == 1:
                harness.interrupt("i-2011")
            elif len(looks) == 2:
                harness.fill("i-2011", job_id, token)

    harness.on_step = meanwhile
    harness.ended(vm, seconds=10)
    assert len(looks) >= 2
    mail = harness.mail("i-2011")
    assert mail.get("stage") in {"failed", None}
    assert "credential" in mail
    assert harness.buildkite.job(job_id).state == "reserved"


@pytest.mark.parametrize("hold", ["0", "-5", "soon", "12345678", "1; poweroff"])
def test_a_hold_that_is_none_ends_it_with_the_reason(harness: VmHarness, hold: str) -> None:
    vm = harness.boot("i-2012", hold=hold)
    harness.ended(vm)
    assert "tag agent-stack:hold is not a number of seconds" in vm.console()


def test_until_it_has_a_job_it_asks_for_no_secret_and_holds_none(harness: VmHarness, tmp_path: Path) -> None:
    harness.aws.client("ssm").put_parameter(
        Name="/private/environment", Value="SECRET=first-of-all\n", Type="SecureString", Overwrite=True
    )
    header = {"JOB_ENVIRONMENT_PARAMETER": "/private/environment", "ECR_LOGIN": "account"}
    vm = harness.boot("i-2013", hold=600, header=header)
    wait_for(lambda: stands_by(vm))
    assert not any(step.startswith(("ssm:", "ecr:")) for step in harness.steps(vm))
    kept = [path for path in vm.directory.rglob("*") if path.is_file() and path.name != "user-data"]
    assert not any("first-of-all" in path.read_text(errors="replace") for path in kept)
    harness.aws.client("ssm").put_parameter(
        Name="/private/environment", Value="SECRET=rotated\n", Type="SecureString", Overwrite=True
    )
    job_id, token = harness.reserve('test "$SECRET" = rotated')
    harness.fill("i-2013", job_id, token)
    harness.ended(vm)
    assert harness.buildkite.job(job_id).exit_status == 0, "what was rotated while it waited is what its job gets"
    assert asked(harness, vm) == [TELLS, "ssm:GetParameters /private/environment", LOGS_IN]


def test_it_tells_that_it_lives_before_it_asks_for_a_registry_login(harness: VmHarness) -> None:
    """Which may take a minute. A standby VM that has a job and reports nothing for 20 s counts as dead."""
    job_id, token = harness.reserve("true")
    harness.fill("i-2015", job_id, token)
    vm = harness.boot("i-2015", hold=600, header={"ECR_LOGIN": "account"})
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"
    assert asked(harness, vm) == [TELLS, LOGS_IN]


def test_role_keys_that_end_while_it_waits_are_read_anew(harness: VmHarness) -> None:
    vm = harness.boot("i-2014", hold=600)
    wait_for(lambda: stands_by(vm))
    harness.imds.expire_tokens("i-2014")
    job_id, token = harness.reserve("true")
    harness.fill("i-2014", job_id, token)
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"
