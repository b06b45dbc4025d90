"""Fails when people read five odd words or more, and prints how many there are, on pages and in code, too.

python -m tests.words            # the count; each place, when there are too many
python -m tests.words --list     # each place, with the word to use
"""

import re
import sys
from collections.abc import Iterator

from tests.words.texts import ROOT, Text, pages, spoken, tracked
from tests.words.vocabulary import ODD_WORDS

MAX_READ = 4
MAX_ON_PAGES = 0
"""Hand-written pages have none."""

STORED = re.compile(r"[\"'](?:baton|told|market)[\"']|market[=-]|AGENT_STACK_\w+")
"""Names that stay, because records, class documents and pipelines have them."""


def found(texts: Iterator[Text]) -> Iterator[str]:
    """Each odd word of these texts with its place and what to say."""
    for text in texts:
        bare = STORED.sub(" ", text.text)
        for word in ODD_WORDS:
            for match in word.pattern.finditer(bare):
                yield f"{text.file}:{text.line}: “{match[0]}”: say {word.say}"


def in_code() -> int:
    """Odd words in comments, docstrings and names of the code, tests included."""
    lines = (
        Text(name, number, line.replace("_", " "))
        for name in tracked("functions/*.py", "infra/*.py", "infra/vm/*.sh", "scripts/*.py", "tests/*.py")
        if not name.startswith("tests/words/")
        for number, line in enumerate((ROOT / name).read_text().splitlines(), start=1)
    )
    return sum(1 for _ in found(lines))


def main() -> int:
    """The exit status."""
    on_pages, said = list(found(pages())), list(found(spoken()))
    listed = "--list" in sys.argv[1:]
    for places, limit in ((on_pages, MAX_ON_PAGES), (said, MAX_READ)):
        if listed or len(places) > limit:
            sys.stdout.writelines(f"{place}\n" for place in places)
    sys.stdout.write(
        f"odd words: {len(said)} in what stack and scripts say (at most {MAX_READ}), "
        f"{len(on_pages)} on pages (at most {MAX_ON_PAGES}), {in_code()} in code\n"
    )
    return int(len(said) > MAX_READ or len(on_pages) > MAX_ON_PAGES)


if __name__ == "__main__":
    raise SystemExit(main())
