"""Faults planted in the served world; each is found by `doctor`, with what happens because of it and what to do."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CLASSES, SOON, operators
from tests.cli.served import Served
from tests.simulator.buildkite import AGENT_TOKEN
from tests.simulator.world import NAME, REGION, TOKEN_PARAMETER, Plan, World

PLAN = Plan(
    parameters={"ReservationSeconds": "700", "MaxInstances": "50"},
    classes=CLASSES,
    pending=(SOON, SOON),
    operators=operators(),
)


@pytest.fixture(scope="module")
def healthy() -> Iterator[Served]:
    """A stack whose functions run."""
    with World(PLAN) as world:
        world.start()
        served = Served(world)
        retry_until = time.monotonic() + 30
        while time.monotonic() < retry_until and served.lease_holders() < 2:
            time.sleep(0.2)
        yield served


def put(served: Served, name: str, value: str, kind: str = "String") -> None:
    served.world._client("ssm").put_parameter(Name=name, Value=value, Type=kind, Overwrite=True)


def changed_class(**changes: object) -> str:
    document = json.loads(CLASSES)
    document["classes"]["default"] |= changes
    return json.dumps(document)


def said(_text: str) -> None:
    """What a command printed does not matter here."""


Plant = Callable[[Served], None]

FAULTS: dict[str, tuple[Plant, Plant, str, str]] = {
    "wrong token": (
        lambda s: put(s, TOKEN_PARAMETER, "wrong", "SecureString"),
        lambda s: put(s, TOKEN_PARAMETER, AGENT_TOKEN, "SecureString"),
        "token",
        "Put an agent token of the cluster into the SSM parameter that AgentTokenParameter names.",
    ),
    "token gone": (
        lambda s: s.world._client("ssm").delete_parameter(Name=TOKEN_PARAMETER),
        lambda s: put(s, TOKEN_PARAMETER, AGENT_TOKEN, "SecureString"),
        "token",
        "Put an agent token of the cluster into the SSM parameter that AgentTokenParameter names.",
    ),
    "paused queue": (
        lambda s: s.world.buildkite.pause_queue("default"),
        lambda s: s.world.buildkite.resume_queue("default"),
        "queue default",
        "Resume the queue on its page at Buildkite.",
    ),
    "image gone": (
        lambda s: s.world.ec2.images.unknown.add("ami-0123456789abcdef0"),
        lambda s: s.world.ec2.images.unknown.discard("ami-0123456789abcdef0"),
        "class default",
        "Correct that class of the document: agent-stack classes validate FILE.",
    ),
    "closed Fleet API": (
        lambda s: s.world.ec2.faults.fail("CreateFleet", "UnauthorizedOperation", times=100),
        lambda s: s.world.ec2.faults.clear(),
        "class default",
        "Give the dispatcher's role what the words name.",
    ),
    "reservation too short for the boot": (
        lambda s: put(s, "/classes", changed_class(boot_timeout_seconds=3000)),
        lambda s: put(s, "/classes", CLASSES),
        "timeouts",
        "Set it to at least",
    ),
    "class document that is no JSON": (
        lambda s: put(s, "/classes", "{"),
        lambda s: put(s, "/classes", CLASSES),
        "classes",
        "Correct the class document: agent-stack classes validate FILE.",
    ),
    "class document with a misspelt field": (
        lambda s: put(s, "/classes", changed_class(max_instance=3)),
        lambda s: put(s, "/classes", CLASSES),
        "class default",
        "Correct that class of the document: agent-stack classes validate FILE.",
    ),
    "paused by an operator": (
        lambda s: said(s.ok("pause", "--reason", "forgotten")),
        lambda s: said(s.ok("resume")),
        "pause",
        f"agent-stack resume --stack {NAME}",
    ),
}


def findings(served: Served, *words: str) -> list[dict[str, Any]]:
    result = served.run("doctor", "--json", *words)
    read: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == (1 if any(f["severity"] == "error" for f in read) else 0), result.output
    return read


def test_nothing_is_wrong_with_a_healthy_stack(healthy: Served) -> None:
    assert findings(healthy) == []
    assert "PASS  demo: nothing is wrong." in healthy.ok("doctor")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_with_its_remedy(healthy: Served, fault: str) -> None:
    plant, repair, check, remedy = FAULTS[fault]
    plant(healthy)
    try:
        found = [f for f in findings(healthy) if f["check"] == check]
        assert found, fault
        assert any(remedy in f["remedy"] for f in found), found
        assert all(f["problem"] and f["effect"] for f in found)
        assert AGENT_TOKEN not in json.dumps(found)
    finally:
        repair(healthy)


def test_looking_changes_nothing(healthy: Served) -> None:
    def state() -> object:
        calls = healthy.world.ec2.calls()
        return (
            len(healthy.world.ec2.instances()),
            [call for call in calls if call.action == "CreateFleet" and call.code is None],
            healthy.world.ledger_items("run"),
        )

    before = state()
    findings(healthy)
    assert state() == before


def test_another_region_is_named(healthy: Served) -> None:
    result = healthy.run("doctor", "--region", "us-east-1")
    assert result.exit_code == 1
    assert "no stack of this project is in us-east-1" in result.stderr
    assert "Next: name another region" in result.stderr


# --- before a first deployment ---

GOOD = {"AgentTokenParameter": TOKEN_PARAMETER, "StackKey": "ci", "MaxInstances": "20"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MaxInstance": "5"}, "did you mean MaxInstances?"),
        ({"MaxInstances": "0"}, "the nearest is 1"),
        ({"NotificationLevel": "norml"}, "did you mean normal?"),
        ({"StackKey": "a b"}, "letters, digits, underscores and dashes"),
        ({"AgentTokenParameter": "/nowhere"}, "there is no SSM parameter /nowhere in eu-central-1"),
        ({"Subnets": "subnet-0123456789abcdef0"}, "subnet-0123456789abcdef0 is not in eu-central-1"),
        ({"ClassesParameter": "/nowhere"}, "there is no SSM parameter /nowhere"),
        ({"StackKey": None}, "StackKey is missing"),
    ],
)
def test_a_parameter_file_is_examined_before_anything_is_deployed(
    healthy: Served, tmp_path: Path, changes: dict[str, str | None], words: str
) -> None:
    path = tmp_path / "ci.parameters"
    given = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    path.write_text("# ours\n" + "".join(f"{name}={value}\n" for name, value in given.items()))
    result = healthy.run("doctor", "--parameters", str(path))
    assert result.exit_code == 1
    assert words in result.stdout


def test_a_good_parameter_file_passes(healthy: Served, tmp_path: Path) -> None:
    path = tmp_path / "ci.parameters"
    path.write_text("".join(f"{name}={value}\n" for name, value in GOOD.items()))
    assert f"PASS  {path} in {REGION}" in healthy.ok("doctor", "--parameters", str(path))
