"""AWS access on a whole VM: the setting of user data, the boot program, the agent, the hook, and the end."""

import pytest

from tests.simulator.buildkite import Operation, Step
from tests.vm.harness import VmHarness
from tests.vm.job_stack import job_role

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]


@pytest.mark.parametrize("hold", [None, 60], ids=["launched for it", "stood by"])
def test_a_booted_vm_gives_its_job_a_session_and_ends_with_it(harness: VmHarness, hold: int | None) -> None:
    role = harness.aws.sts.add(job_role())
    command = 'echo "$AWS_ROLE_ARN $AWS_REGION"; cat "$AWS_WEB_IDENTITY_TOKEN_FILE"; echo'
    job_id, token = harness.reserve(Step(command=command))
    harness.fill("i-0960", job_id, token)
    vm = harness.boot("i-0960", header={"JOB_AWS": f"{role.arn}|||"}, hold=hold)
    harness.ended(vm)
    assert harness.buildkite.job(job_id).exit_status == 0
    assert harness.output(job_id).split() == [role.arn, "eu-central-1", "[REDACTED]"]
    issued = [record for record in harness.buildkite.access_log() if record.operation == Operation.JOB_OIDC_TOKEN.value]
    assert [record.status for record in issued] == [200]
    assert (vm.directory / "etc/buildkite-agent/agent-stack-aws").stat().st_mode & 0o777 == 0o644


def test_without_the_setting_a_vm_has_none_of_it(harness: VmHarness) -> None:
    job_id, token = harness.reserve("env | grep -c ^AWS_ROLE || true")
    harness.fill("i-0961", job_id, token)
    vm = harness.boot("i-0961", header={"JOB_AWS": "|||"})
    harness.ended(vm)
    assert harness.output(job_id) == "0\n"
    assert not (vm.directory / "etc/buildkite-agent/agent-stack-aws").exists()
