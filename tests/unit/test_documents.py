"""What the documents claim, held against the code."""

import re
from pathlib import Path

from tests.simulator.universe.outcome import stages

ROOT = Path(__file__).resolve().parents[2]


def rows() -> list[list[str]]:
    table = (ROOT / "docs" / "stacks-api.md").read_text().split("|---|---|---|---|---|\n")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_endpoint_has_its_use_and_its_test() -> None:
    tests = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/contract/test_stacks_api.py").read_text(), re.MULTILINE))
    assert len(rows()) == 10
    for _, current, preview, used, test in rows():
        assert current
        assert preview
        assert test.strip("`") in tests
        for stage in re.findall(r"`(stages/\w+\.py)`", used):
            assert (ROOT / "functions" / "agent_stack" / stage).exists()
        assert "stages/" in used


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_architecture_page_names_the_stages_in_their_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawn = [line.strip() for line in page.splitlines() if line.strip().startswith(("register -->", "observe -->"))]
    named = [re.sub(r"\[[^\]]*\]", "", stage).strip(" _") for line in drawn for stage in line.split("-->")]
    # Measuring changes nothing, and is not drawn.
    assert named == [stage.lower() for stage in stages() if not stage.startswith("Measure")]


def test_places_that_the_architecture_page_names_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().split("## Where to change what")[1]
    for place in re.findall(r"`([\w./]+)`", page):
        inside = ROOT / "functions" / "agent_stack" / place
        assert inside.exists() or (ROOT / place).exists(), place
