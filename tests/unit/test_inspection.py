"""What an inspection says of services that do not answer now, and that it logs nothing."""

import logging
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import AgentStackError, GiveUpError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.findings import Finding
from agent_stack.domain.identifiers import ClassName
from agent_stack.wiring.deployment import Deployment
from agent_stack.wiring.inspection import inspect
from tests.unit.values import an_environment

LARGE = VmClass(name=ClassName("large"), instance_types=("m7i.large",), image="ami-0123456789abcdef0")
TRANSIENT = [RetryError("429 Too Many Requests"), UnknownOutcomeError("503 Service Unavailable")]
LASTING = [GiveUpError("403 not enabled"), WaitError("401 Unauthorized")]


class Inspected:
    """Stands for a deployment of which one part fails."""

    def __init__(self, **fails: AgentStackError) -> None:
        self.fails = fails
        self.settings = SimpleNamespace(
            queues=[SimpleNamespace(key="default")], uses_job_tokens=True, subnet_ids=(), max_instances=1, policy=None
        )
        self.stacks = self.secrets = self.instance_catalog = self.fleet = self.clock = self
        self.ports = SimpleNamespace(classes=self, fleet=self)

    def _or_fail(self, part: str, otherwise: Any) -> Any:  # noqa: ANN401
        if part in self.fails:
            raise self.fails[part]
        return otherwise

    def now(self) -> Any:  # noqa: ANN401
        return SimpleNamespace(timestamp=lambda: 0.0)

    def token_identity(self) -> None:
        return cast("None", self._or_fail("token", None))

    def agent_token(self) -> str:
        return "bkct_x"

    def list_scheduled(self, _queue: str) -> Any:  # noqa: ANN401
        return self._or_fail("queue default", SimpleNamespace(paused=False))

    def issue_tokens(self, *_: object) -> Any:  # noqa: ANN401
        failure = self.fails.get("job acquisition tokens")
        return SimpleNamespace(errors=[] if failure is None else [failure])

    def book(self) -> ClassBook:
        classes = {ClassName("large"): LARGE} if "class large" in self.fails else {}
        book = ClassBook(classes=classes, default=ClassName("large"), deployment_tags=(), broken={})
        return cast("ClassBook", self._or_fail("classes", book))

    def root_device(self, _image: str) -> str:
        return cast("str", self._or_fail("class large", "/dev/xvda"))

    def ec2_client(self) -> Any:  # noqa: ANN401
        return SimpleNamespace(describe_subnets=lambda **_: {"Subnets": []})


def found(part: str, error: AgentStackError, monkeypatch: pytest.MonkeyPatch) -> Finding:
    monkeypatch.setattr("agent_stack.wiring.class_findings.validate_timeouts", lambda *_: [])
    answer = inspect(cast("Deployment", Inspected(**{part: error})))
    (finding,) = answer["findings"]
    return Finding(**finding)


PARTS = ["token", "queue default", "job acquisition tokens", "classes", "class large"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("error", TRANSIENT, ids=str)
def test_what_passes_by_itself_is_not_examined(
    part: str, error: AgentStackError, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = found(part, error, monkeypatch)
    assert (finding.check, finding.severity) == (part, "warning")
    assert finding.problem == f"not examined: {type(error).__name__}: {error}"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("error", LASTING, ids=str)
def test_what_does_not_pass_is_an_error(part: str, error: AgentStackError, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = found(part, error, monkeypatch)
    assert (finding.check, finding.severity) == (part, "error")
    assert str(error) in finding.problem


def test_an_inspection_logs_and_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for only_looks in (False, True):
        deployment = Deployment(function="dispatcher", environment=an_environment(), only_looks=only_looks)
        for handler in logging.getLogger("dispatcher").handlers:  # a logger keeps the output of the test before
            assert isinstance(handler, logging.StreamHandler)
            handler.setStream(sys.stdout)
        with deployment.invocation(timedelta(seconds=10)):
            deployment.telemetry.error("class_broken", error="a misspelt field")
        said = "".join(capsys.readouterr())
        assert ("class_broken" in said) is not only_looks, said
        assert bool(said) is not only_looks
