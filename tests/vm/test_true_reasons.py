"""A boot that fails says why: also where an answer lacks what the next line reads."""

from collections.abc import Callable

import pytest

from tests.simulator.iam.refusal import Refusal
from tests.simulator.vm.process import AGENT_STUB
from tests.vm import readers
from tests.vm.harness import UNPINNED, VmHarness, download_server
from tests.vm.test_private_work import keep

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]


def test_a_credential_that_no_variable_can_hold_is_malformed(harness: VmHarness) -> None:
    job_id, _ = harness.reserve("true")
    harness.fill("i-1201", job_id, "bkjat_a\0b")
    vm = harness.boot("i-1201")
    harness.ended(vm)
    assert harness.mail("i-1201")["detail"] == "credential is malformed"


def test_a_credential_that_was_lost_and_is_not_given_again_ends_the_vm(harness: VmHarness) -> None:
    losses = iter([True])
    harness.aws.front.lose_answer = lambda asked: (
        "credential" in asked.context.get("dynamodb:Attributes", ()) and next(losses, False)
    )
    job_id, token = harness.reserve("true")
    harness.fill("i-1202", job_id, token)
    vm = harness.boot("i-1202", environment={"CREDENTIAL_SECONDS": "2"})
    harness.ended(vm)
    assert "credential was lost and not given again" in vm.console()
    assert harness.mail("i-1202")["stage"] == "credential_lost"
    assert harness.buildkite.agents() == ()


@pytest.mark.parametrize("published", ["<html>not found</html>", "0123", "G" * 64])
@pytest.mark.share(6)
def test_an_agent_without_a_published_checksum_is_not_run(harness: VmHarness, published: str) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-1203", job_id, token)
    with download_server(AGENT_STUB.read_bytes(), checksum=published) as downloads:
        vm = harness.boot("i-1203", agent=None, header={"AGENT_DOWNLOAD_URL": downloads.origin})
        harness.ended(vm)
    assert harness.mail("i-1203")["detail"].startswith(
        f"checksum of {downloads.origin}/{UNPINNED}/buildkite-agent-linux-"
    )
    assert harness.mail("i-1203")["detail"].endswith(" is not published")
    assert "credential" in harness.mail("i-1203")


def refused_when(harness: VmHarness, step: str, refusal: Refusal) -> Callable[[str, str], None]:
    """Refuse what is asked after that step."""
    return lambda _, seen: harness.aws.front.refusals.append(refusal) if seen.startswith(step) else None


def test_a_registry_login_that_is_refused_is_told_with_its_code(harness: VmHarness) -> None:
    keep(harness, "/private/environment", "A=b\n")
    job_id, token = harness.reserve("true")
    harness.fill("i-1204", job_id, token)
    denied = Refusal(code="AccessDeniedException", message="not for you", status=400)
    harness.on_step = refused_when(harness, "ssm:GetParameters", denied)
    vm = harness.boot("i-1204", header={"ECR_LOGIN": "account", "JOB_ENVIRONMENT_PARAMETER": "/private/environment"})
    harness.ended(vm)
    assert harness.mail("i-1204")["detail"] == "registry login cannot be had: AccessDeniedException"
    assert "credential" in harness.mail("i-1204")


LOGIN, REGISTRY = '"authorizationToken":"QVdTOng="', '"proxyEndpoint":"https://1.dkr.ecr.eu-central-1.amazonaws.com"'


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        f"{{{LOGIN}}}",
        f"{{{REGISTRY}}}",
        f'{{{LOGIN},"proxyEndpoint":"http://elsewhere"}}',
        f'{{"authorizationToken":"QVdT\\"}}x",{REGISTRY}}}',
    ],
)
@pytest.mark.share(6)
def test_an_answer_without_a_registry_login_is_told(answer: str) -> None:
    assert readers.registry_login(answer).refused == "registry login cannot be had: the answer holds no login"


def test_a_registry_login_is_dockers_own() -> None:
    wanted = '{"auths":{"1.dkr.ecr.eu-central-1.amazonaws.com":{"auth":"QVdTOng="}}}\n'
    assert readers.registry_login(f"{{{LOGIN},{REGISTRY}}}").text == wanted
