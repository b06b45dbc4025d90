"""What the documents claim, held against the code."""

import re
from pathlib import Path

import pytest

from tests.unit.chains import step_modules

ROOT = Path(__file__).resolve().parents[2]


def requests() -> list[dict[str, str]]:
    """The first table under each request of docs/reference/stacks-api.md."""
    page = (ROOT / "docs" / "reference" / "stacks-api.md").read_text()
    tables = re.findall(r"^### .*\n\n\| \| \|\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", table, re.MULTILINE)) for table in tables]


def test_every_endpoint_has_its_use_and_its_test() -> None:
    tests = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/contract/test_stacks_api.py").read_text(), re.MULTILINE))
    assert len(requests()) == 10
    for request in requests():
        assert request["Path"]
        assert request["Preview path"]
        assert request["Contract test"].strip("`") in tests
        steps = re.findall(r"`((?:dispatcher|tracker|removal)/\w+\.py)`", request["Sent by"])
        assert steps
        for step in steps:
            assert (ROOT / "functions" / "agent_stack" / step).exists()


def pages() -> list[Path]:
    """Every page of the repository."""
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")]


def test_every_test_that_a_page_names_exists() -> None:
    """By its file, with its path or the file's name alone, or by its function; examples of code name their own."""
    tests = list((ROOT / "tests").glob("**/test_*.py"))
    files = {path.name for path in tests}
    functions = {name for path in tests for name in re.findall(r"^ *def (test_\w+)", path.read_text(), re.MULTILINE)}
    texts = {page: re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL) for page in pages()}
    named = [(page, name) for page, text in texts.items() for name in re.findall(r"[\w./]*\btest_\w+(?:\.py)?", text)]
    assert named
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page, name in named
        if not (
            ((page.parent if name.startswith("..") else ROOT) / name).exists()
            if "/" in name
            else name in files | functions
        )
    ]
    assert missing == []


def headings(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.*)$", prose, re.MULTILINE)


def test_no_page_has_a_heading_twice() -> None:
    """A merge that kept both sides of a section leaves such a page."""
    of_now = [page for page in pages() if page.name != "CHANGELOG.md"]  # each version has the same ones
    assert {str(page): headings(page) for page in of_now if len(set(headings(page))) < len(headings(page))} == {}


def test_the_rights_that_deploying_needs_name_each_service_of_the_templates() -> None:
    section = (ROOT / "docs/reference/iam.md").read_text().split("## What deploying needs")[1].split("\n## ")[0]
    named = set(re.findall(r"\w+", " ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE))))
    templates = [ROOT / "template.yaml", *(ROOT / "infra").glob("*.yaml")]
    services = {one for path in templates for one in re.findall(r"Type: AWS::(\w+)::", path.read_text())}
    assert services - {"Serverless"} - named == set()


def test_no_line_of_the_readme_is_longer_than_an_editor_shows() -> None:
    assert [line for line in (ROOT / "README.md").read_text().splitlines() if len(line) > 120] == []


def test_no_table_of_a_page_is_cut_by_an_empty_line() -> None:
    """What follows it is shown as text with bars."""
    cut = [
        f"{page.relative_to(ROOT)}: {row}"
        for page in pages()
        for row, rule in re.findall(r"\n\n(\|[^\n]*)\n([^\n]*)", page.read_text())
        if not re.fullmatch(r"\|[-| :]+", rule)
    ]
    assert cut == []


def test_the_architecture_page_draws_the_steps_in_their_order() -> None:
    page = (ROOT / "docs" / "development" / "architecture.md").read_text()
    drawn = [line.strip() for line in page.splitlines() if line.strip().startswith(("register -->", "observe -->"))]
    named = [re.sub(r"\[[^\]]*\]", "", step).strip() for line in drawn for step in line.split("-->")]
    assert named == [module.replace(".metrics", "_metrics").rpartition(".")[2] for module in step_modules()]


def examples() -> list[tuple[str, str]]:
    """Each file that a worked example of docs/development/README.md names, and what it says stands there."""
    page = (ROOT / "docs" / "development" / "README.md").read_text()
    return re.findall(r"^\| `([^`]+)` \| [^|]+ \| `([^`]+)` \|$", page, re.MULTILINE)


@pytest.mark.parametrize(("file", "text"), examples())
def test_a_worked_example_stands_in_the_code(file: str, text: str) -> None:
    assert text in (ROOT / file).read_text()


def test_every_guide_has_a_worked_example() -> None:
    page = (ROOT / "docs" / "development" / "README.md").read_text()
    guides = [part for part in page.split("\n## ") if part.startswith("How to add ")]
    assert guides
    for guide in guides:
        assert "\nExample: `" in guide
        rows = [line for line in guide.splitlines() if line.startswith("| `")]
        assert rows
        assert all(re.fullmatch(r"\| `[^`]+` \| [^|]+ \| `[^`]+` \|", row) for row in rows)


def test_places_that_the_development_page_names_exist() -> None:
    page = (ROOT / "docs" / "development" / "README.md").read_text()
    for place in re.findall(r"`((?:functions|tests|infra|docs|dispatcher|tracker)/[\w./]+)`", page):
        assert (ROOT / place).exists() or (ROOT / "functions" / "agent_stack" / place).exists(), place


def test_places_that_the_architecture_page_names_exist() -> None:
    page = (ROOT / "docs" / "development" / "architecture.md").read_text().split("## Where to change what")[1]
    for place in re.findall(r"`([\w./]+)`", page):
        inside = ROOT / "functions" / "agent_stack" / place
        assert inside.exists() or (ROOT / place).exists(), place
