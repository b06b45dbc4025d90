"""Copies of the repository in which trials change things, used one after the other.

A copy keeps its bytecode from one trial to the next, because most of a short trial was compiling what no mutant
touched.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("functions", "infra", "tests", "scripts", "docs", "template.yaml", "pyproject.toml", "samconfig.toml",
         "requirements.lock", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".ci", ".github")  # fmt: skip


class Copies:
    """So many of them, in a directory that is the caller's to remove."""

    def __init__(self, directory: Path, count: int) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            self._free.put(directory / str(number))

    @contextmanager
    def one(self, changed: Iterable[str]) -> Iterator[Path]:
        """A copy that is as the repository, for one trial.

        Args:
            changed: the files that the trial changes; the copy has them as they were afterwards.
        """
        copy = self._free.get()
        files = list(changed)
        try:
            if not copy.exists():
                _fill(copy)
            yield copy
        finally:
            if any(file.startswith("infra/") for file in files):
                shutil.rmtree(copy)  # what was generated from it, too; its bytecode stays
            else:
                for file in files:
                    shutil.copy2(ROOT / file, copy / file)  # with its time, by which Python knows its bytecode
            self._free.put(copy)


def _fill(copy: Path) -> None:
    copy.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        elif source.exists():
            shutil.copy2(source, copy / part)
