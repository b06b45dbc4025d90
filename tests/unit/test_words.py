"""The check of words finds odd words by their sense, and leaves plain ones and stored names alone."""

import pytest

from tests.words.__main__ import found
from tests.words.texts import Text, pages, spoken
from tests.words.vocabulary import ODD_WORDS


def odd(text: str) -> list[str]:
    return [place.partition("“")[2].partition("”")[0] for place in found(iter([Text("file", 1, text)]))]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Nobody has to do anything.", "Nobody"),
        ("The page is told once.", "is told"),
        ("A dry pool rests.", "dry pool"),
        ("The next look ends it.", "The next look"),
        ("Look at each job\u2019s story.", "story"),
        ("Mend the class.", "Mend"),
        ("Wait, for it may be late.", "for it may"),
        ("the tracker sweeps orphans", "sweeps"),
        ("a VPC of yours", "of yours"),
    ],
)
def test_an_odd_word_is_found(text: str, word: str) -> None:
    assert word in odd(text)


@pytest.mark.parametrize(
    "text",
    [
        "Look at the log, and take a look at its tickets.",
        "scripts/deploy --dry-run tells more",
        "set `market` to spot, as market=spot",
        "Wait for the job. A history of one job.",
        "the recommended amendment, a marketplace image",
        'values["baton"] and values["told"] are stored',
        "no newsletter, no brakeman",
    ],
)
def test_a_plain_word_is_not(text: str) -> None:
    assert odd(text) == []


def test_every_kind_of_text_is_read() -> None:
    files = {text.file for text in (*pages(), *spoken())}
    for name in (
        "README.md",
        "template.yaml",
        "infra/observability.yaml",
        "functions/agent_stack/domain/notices.py",
        "scripts/agent_stack_cli/app.py",
        "scripts/deploy",
        "infra/vm/agent.sh",
    ):
        assert name in files


def test_each_word_has_a_plain_one() -> None:
    assert all(word.say and word.pattern.pattern for word in ODD_WORDS)
