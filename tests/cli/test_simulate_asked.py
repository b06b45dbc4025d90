"""What `agent-stack simulate` is asked for, and what it says of that before and after it plays a day."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent_stack_cli.errors import CliError
from agent_stack_cli.simulation import player, verb
from agent_stack_cli.simulation.analysis import Day
from agent_stack_cli.simulation.deployments import of_defaults
from agent_stack_cli.simulation.player import Played, SetDiedError
from agent_stack_cli.simulation.prices_used import prices, unused
from tests.cli.migrations import run_verb
from tests.cli.test_simulate import CSV, TOO_LONG, an_outcome


@pytest.mark.parametrize("place", [("--report", "jobs.csv/out.html"), ("--report", f"{TOO_LONG}.html"),
                                   ("--report", "drawn", "--force"), ("--pictures", "jobs.csv")])  # fmt: skip
def test_a_place_that_cannot_be_written_is_said_before_the_day_is_played(
    place: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(player, "play", lambda _: pytest.fail("the day was played"))
    Path("jobs.csv").write_text(CSV)
    Path("drawn").mkdir()
    result = run_verb("simulate", *place)
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert f"Next: name another place with {place[0]}" in result.stderr
    assert Path("jobs.csv").read_text() == CSV
    assert not Path("simulated.html").exists()


@pytest.mark.parametrize(("option", "there"), [("--report", "out.html"), ("--pictures", "drawn/vms.svg")])
def test_nothing_that_is_there_is_replaced_without_a_word(
    option: str, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(player, "play", lambda _: pytest.fail("the day was played"))
    Path("drawn").mkdir()
    Path(there).write_text("mine")
    result = run_verb("simulate", "--report", "out.html", "--pictures", "drawn")
    assert result.exit_code == 1
    assert f"{there} is there already" in result.stderr
    assert f"Next: name another place with {option}, or add --force" in result.stderr
    assert Path(there).read_text() == "mine"


def test_a_set_that_cannot_be_played_is_said_at_once_and_the_other_one_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = []

    class Child:
        """The first one plays until it is ended; the second one is wrong."""

        seconds = 1.0

        def __init__(self, _root: Path, name: str, _request: Mapping[str, Any]) -> None:
            self.name = name
            self._over = threading.Event()

        def follow(self, *_: object) -> None:
            if self.name == "good":
                assert self._over.wait(60)
            raise CliError(self.name, next="")

        def end(self) -> None:
            ended.append(self.name)
            self._over.set()

    monkeypatch.setattr(player, "_Child", Child)
    with pytest.raises(CliError) as refused:
        player.play([("good", {}), ("bad", {})])
    assert refused.value.message == "bad"
    assert "good" in ended


def test_a_set_whose_process_dies_leaves_the_other_one_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Child:
        """Of the first one, the system has ended the process; the second one has played."""

        seconds = 1.0

        def __init__(self, _root: Path, name: str, _request: Mapping[str, Any]) -> None:
            self.name = name

        def follow(self, *_: object) -> Played:
            if self.name == "defaults":
                raise SetDiedError("defaults: the simulation failed: Killed", next="report it")
            return Played(outcome=an_outcome(), simulated_hours=1, real_seconds=1, cpu_seconds=1)

        def end(self) -> None:
            """It has."""

    monkeypatch.setattr(player, "_Child", Child)
    report = tmp_path / "out.html"
    result = run_verb("simulate", "--jobs", "1", "--against", "MaxInstances=3", "--report", str(report))
    assert result.exit_code == 1
    assert "agent-stack: defaults: the simulation failed: Killed\nNext: report it" in result.stderr
    assert f"The report: {report}" in result.stdout
    text = report.read_text()
    assert "<li class=bad>defaults: the simulation failed: Killed</li>" in text
    assert "<th class=n>MaxInstances=3</th>" in text
    monkeypatch.setattr(Child, "follow", lambda self, *_: (_ for _ in ()).throw(SetDiedError(self.name, next="")))
    with pytest.raises(SetDiedError, match="one"):
        player.play([("one", {}), ("two", {})])


def test_two_sets_have_two_names(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "other"):
        place.mkdir(exist_ok=True)
        (place / "ci.parameters").write_text("MaxInstances=40\n")
        (place / "ci.json").write_text('{"classes": {}}')
    first = tmp_path / "ci.parameters"

    def names(**given: Any) -> list[str]:  # noqa: ANN401  (the options')
        asked = {"against": (), "against_classes": None, "file": first, "classes": None, "given": (), **given}
        return [one.name for one in verb.sets_of(None, SimpleNamespace(**asked))]  # type: ignore[arg-type]

    assert names(against=[str(tmp_path / "other" / "ci.parameters")]) == ["ci", f"{tmp_path}/other/ci.parameters"]
    assert names(against_classes=tmp_path / "ci.json") == ["ci", f"{tmp_path}/ci.json"]
    assert names(against=["MaxInstances=3"], against_classes=tmp_path / "ci.json") == ["ci", "MaxInstances=3, ci"]
    assert names() == ["ci"]


def test_the_title_keeps_the_names_in_it() -> None:
    assert verb.title_of("the jobs of Jobs-CI.csv") == "The jobs of Jobs-CI.csv"
    assert verb.title_of("burst: all jobs come at one moment") == "Burst"
    history = "3 jobs that Prod ran from 2026-01-05 09:00 UTC on, as its ledger keeps them"
    assert verb.title_of(history) == history


def test_a_price_that_no_vm_had_is_said() -> None:
    (vm,) = an_outcome()["vms"]
    used = prices(["m7i.large=0.5", "m7i.lrage=0.5", "c7i.large=0.3"])
    day = Day(deployment=of_defaults(), outcome=an_outcome(vms=[vm, {**vm, "type": "c7i.large", "capacity_type": "spot"}]), prices=used)  # fmt: skip  # noqa: E501
    day.summary()
    assert [one.partition(":")[0] for one in unused([used])] == ["--price c7i.large=0.3", "--price m7i.lrage=0.5"]
    assert dict(used.said())["given"] == "m7i.large 0.5 USD an hour"
    assert "--price" not in dict(used.said())["guess"]
