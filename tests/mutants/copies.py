"""Copies of the repository in which trials change things, used one after the other.

A copy keeps its bytecode and its warm process from one trial to the next, because most of a short trial was compiling
and loading what no mutant touched.
"""

import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from infra import vm_files
from tests.mutants.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("functions", "infra", "tests", "scripts", "docs", "template.yaml", "pyproject.toml", "samconfig.toml",
         "requirements.lock", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".ci", ".github")  # fmt: skip
OF_VMS = "infra/vm/"
"""What the VM's program is generated from."""


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
            restore(copy, files)
            self._free.put(worker)


def restore(copy: Path, changed: Sequence[str]) -> None:
    """Let these files of a copy be as the repository's again, and what was generated from them."""
    generated = [str(file.relative_to(ROOT)) for file in vm_files.FILES]
    for file in (*changed, *(generated if any(file.startswith(OF_VMS) for file in changed) else ())):
        shutil.copy2(ROOT / file, copy / file)  # with its time, by which Python knows its bytecode


def _fill(copy: Path) -> None:
    copy.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        elif source.exists():
            shutil.copy2(source, copy / part)
    if sys.pycache_prefix:
        fill_bytecode(copy, Path(sys.pycache_prefix), Path(f"{copy}-bytecode"))


def fill_bytecode(copy: Path, compiled: Path, bytecode: Path) -> None:
    """What others compiled is as good for the copy: its files have the same times, by which Python judges.

    The libraries lie where they lay, so the copy shares their bytecode.
    """
    ours = compiled.joinpath(*ROOT.parts[1:])
    for part in (name for name in PARTS if (ours / name).is_dir()):
        # Python writes each file under another name first, which is gone a moment later.
        shutil.copytree(ours / part, bytecode.joinpath(*copy.parts[1:], part), ignore=shutil.ignore_patterns("*.pyc.*"))
    for library in {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}:
        shared, link = (where.joinpath(*library.parts[1:]) for where in (compiled, bytecode))
        if shared.is_dir() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(shared)
