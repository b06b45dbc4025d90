"""Copies of the repository in which trials change things, used one after the other.

A copy keeps its bytecode and its warm process from one trial to the next, because most of a short trial was compiling
and loading what no mutant touched.
"""

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from tests.mutants.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("functions", "infra", "tests", "scripts", "docs", "template.yaml", "pyproject.toml", "samconfig.toml",
         "requirements.lock", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".ci", ".github")  # fmt: skip


class Copies:
    """So many of them, in a directory that is the caller's to remove."""

    def __init__(self, directory: Path, count: int) -> None:
        self._workers = [Worker(directory / str(number)) for number in range(count)]
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def __enter__(self) -> Self:
        """End the processes with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()

    @contextmanager
    def one(self, changed: Iterable[str]) -> Iterator[Worker]:
        """A worker whose copy is as the repository, for one trial.

        Args:
            changed: the files that the trial changes; the copy has them as they were afterwards.
        """
        worker = self._free.get()
        copy = worker.copy
        files = list(changed)
        try:
            if not copy.exists():
                _fill(copy)
            yield worker
        finally:
            if any(file.startswith("infra/") for file in files):
                shutil.rmtree(copy)  # what was generated from it, too; its bytecode stays
            else:
                for file in files:
                    shutil.copy2(ROOT / file, copy / file)  # with its time, by which Python knows its bytecode
            self._free.put(worker)


def _fill(copy: Path) -> None:
    copy.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        elif source.exists():
            shutil.copy2(source, copy / part)
    # What the tests before compiled is as good for the copy: its files have the same times, by which Python judges.
    compiled = Path(sys.pycache_prefix or "", *ROOT.parts[1:])
    if sys.pycache_prefix and compiled.is_dir():
        shutil.copytree(compiled, Path(f"{copy}-bytecode", *copy.parts[1:]), dirs_exist_ok=True)
