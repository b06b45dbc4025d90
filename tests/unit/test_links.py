"""Every link of a page, and every page that a message, a comment or a template names, leads to a place that exists."""

import os
import re
from functools import cache
from pathlib import Path

from infra.user_data import ROOT

PARTS = ("docs", "functions", "infra", "scripts", "tests", ".ci", ".github")
MARKDOWN = (".md",)
NAMED = re.compile(r"\bdocs/[\w./-]+?\.(?:md|json|svg|png)\b(?:#[\w-]+)?")
PAST = {"CHANGELOG.md"}
"""What names pages as they were called then."""


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository."""
    inside = (path for part in PARTS for path in (ROOT / part).rglob("*"))
    found = [*ROOT.glob("*.*"), *inside]
    return tuple(path for path in found if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts)


@cache
def prose(page: Path) -> str:
    """Its text without blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> frozenset[str]:
    """What GitHub makes of its headings: a second heading with the same words gets a number."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    return frozenset(slug if n == 0 else f"{slug}-{n}" for slug, times in found.items() for n in range(times))


def pages() -> list[Path]:
    return [path for path in files() if path.suffix in MARKDOWN]


def links(page: Path) -> list[tuple[Path, str]]:
    """Each place of this repository that the page links to, and the anchor there."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    parted = (target.partition("#") for target in targets if ":" not in target)
    return [(Path(os.path.normpath(page.parent / file)) if file else page, anchor) for file, _, anchor in parted]


def broken(path: Path, anchor: str) -> bool:
    return not path.exists() or bool(anchor and anchor not in anchors(path))


def test_each_link_leads_to_a_page_and_a_heading_that_exist() -> None:
    found = {page: links(page) for page in pages()}
    assert sum(len(targets) for targets in found.values()) > 100
    assert [
        f"{page.relative_to(ROOT)}: {os.path.relpath(path, ROOT)}#{anchor}"
        for page, targets in found.items()
        for path, anchor in targets
        if broken(path, anchor)
    ] == []


def test_each_page_that_a_file_names_exists_with_its_heading() -> None:
    """In messages, remedies, comments, templates and tests: whoever reads the name looks the page up."""
    wrong, seen = [], 0
    for path in files():
        if str(path.relative_to(ROOT)) in PAST:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for name in NAMED.findall(text):
            seen += 1
            file, _, anchor = name.partition("#")
            if broken(ROOT / file, anchor):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert seen > 50
    assert wrong == []


def test_a_reader_who_begins_at_the_readme_reaches_every_page_by_links() -> None:
    reached, new = set[Path](), {ROOT / "README.md"}
    while new:
        reached |= new
        new = {target for page in new for target, _ in links(page) if target.suffix in MARKDOWN} - reached
    inside = {page for page in pages() if page.is_relative_to(ROOT / "docs") and "adr" not in page.parts}
    assert {str(page.relative_to(ROOT)) for page in inside - reached} == set()
