"""What `doctor` says of what the dispatcher remembers, and of the leases."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_stack.domain.backoff import Backoff
from agent_stack.domain.breakers import ACCOUNT, Breaker
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.findings import Finding
from agent_stack.domain.identifiers import ClassName
from agent_stack_cli import stack_findings
from agent_stack_cli.classes import Document
from agent_stack_cli.records import Holder
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack

NOW = datetime.now(UTC)
CLOSED = "MaxFleetCountExceeded: the Fleet API is closed"
FULL = "VcpuLimitExceeded: no more vCPUs"


@dataclass
class Ledger:
    """Stands for `Records`."""

    learnt: LaunchMemory = field(default_factory=LaunchMemory)
    leases: Mapping[str, tuple[datetime | None, int]] = field(default_factory=dict)

    def __call__(self, **_: Any) -> "Ledger":  # noqa: ANN401
        return self

    def memory(self) -> LaunchMemory:
        return self.learnt

    def holders(self) -> list[Holder]:
        return [Holder(function=name, until=until, fence=fence) for name, (until, fence) in self.leases.items()]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    text = json.dumps({"classes": {"default": {}, "large": {}}})
    monkeypatch.setattr(stack_findings, "deployed", lambda _: Document(name="/classes", text=text))
    monkeypatch.setattr(Session, "now", lambda _: NOW)
    return Stack(
        session=Session(region="eu-central-1"), name="ci", arn="", status="CREATE_COMPLETE", parameters={}, outputs={}
    )


def learnt(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, words: Mapping[str, str], *open_now: str
) -> dict[str, Finding]:
    memory = LaunchMemory(
        last_error_by_class={ClassName(name): said for name, said in words.items()},
        breakers={
            ClassName(name): Breaker(until=NOW + timedelta(minutes=5), since=NOW, failures=1, message=CLOSED)
            for name in open_now
        },
    )
    monkeypatch.setattr(stack_findings, "Records", Ledger(learnt=memory))
    return {finding.problem: finding for finding in stack_findings.learnt(stack)}


def test_an_old_refusal_is_no_error_for_ever(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    found = learnt(stack, monkeypatch, {"default": CLOSED})
    (finding,) = found.values()
    assert (finding.severity, finding.check) == ("warning", "class default")
    assert finding.effect.startswith("If it still holds, jobs of the class wait")


@pytest.mark.parametrize("broken", ["default", ACCOUNT])
def test_a_refusal_that_holds_now_is_an_error(stack: Stack, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    finding = learnt(stack, monkeypatch, {"default": CLOSED}, broken)[f"Last EC2 error: {CLOSED}"]
    assert (finding.severity, finding.effect[:21]) == ("error", "Jobs of the class wai")


def test_a_class_whose_launches_fail_is_refused_now(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no breaker: nobody says whether it is the class or the account."""
    for age, severity in ((timedelta(minutes=1), "error"), (timedelta(minutes=11), "warning")):
        memory = LaunchMemory(
            last_error_by_class={ClassName("default"): CLOSED},
            backoffs={"default/fallback|on-demand": Backoff(failures=2, since=NOW - age, until=NOW - age)},
        )
        monkeypatch.setattr(stack_findings, "Records", Ledger(learnt=memory))
        (finding,) = stack_findings.learnt(stack)
        assert finding.severity == severity


def test_a_full_quota_is_a_warning_because_it_passes(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = learnt(stack, monkeypatch, {"large": FULL}, "large")[f"Last EC2 error: {FULL}"]
    assert finding.severity == "warning"


def test_a_class_that_is_no_longer_in_the_document_is_not_blamed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not learnt(stack, monkeypatch, {"gone": CLOSED})
    monkeypatch.setattr(stack_findings, "deployed", lambda _: Document(name="/classes", text="{"))
    assert learnt(stack, monkeypatch, {"gone": CLOSED})  # of a document that is no JSON nobody knows its classes


def test_functions_that_never_ran_or_were_stopped_at_work_are_found(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = {"dispatcher": (NOW - timedelta(minutes=9), 4), "tracker": (None, 0)}
    monkeypatch.setattr(stack_findings, "Records", Ledger(leases=leases))
    found = {finding.check: finding for finding in stack_findings.liveness(stack)}
    assert found["dispatcher"].problem.startswith("The dispatcher has run no cycle since ")
    assert found["tracker"].problem == "The tracker never ran."
    assert found["tracker"].effect == "The tracker follows no VM and no job."
    monkeypatch.setattr(stack_findings, "Records", Ledger(leases={"dispatcher": (None, 4), "tracker": (NOW, 2)}))
    assert list(stack_findings.liveness(stack)) == []  # one ended in order; its alarm rings when it is not invoked
