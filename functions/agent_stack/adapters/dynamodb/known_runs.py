"""Runs as this process saw them last, each known by the write that made it what it is.

Every write of a run signs the item with an id of its own. An item that carries an id we know is the run we know, so it
need not be read in full again: a look at thousands of runs is mostly parsing, and a small function has little CPU.
Whoever changes an item by hand takes its `write_id` away, or the change is not seen.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run

SIGNATURE = ("sk", "write_id")
"""The attributes that tell whether a run is known: its job's id, and its latest write."""


@dataclass(slots=True, kw_only=True)
class KnownRuns:
    """What a process knows. Forgotten with it, and right however old: a signature stands for one content only."""

    _runs: dict[JobId, tuple[str, Run]] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return (run for _, run in self._runs.values())

    def of(self, item: Mapping[str, Any]) -> Run | None:
        """The run behind an item of which only the signature was read; None if it is to be read in full."""
        write_id, run = self._runs.get(JobId(item["sk"]["S"]), ("", None))
        return run if write_id and item.get("write_id", {}).get("S") == write_id else None

    def before(self, run: Run) -> tuple[str, Run] | None:
        """The version that this one follows, with its signature, if it is the one we know."""
        known = self._runs.get(run.job_id)
        return known if known is not None and known[0] and known[1].version == run.version - 1 else None

    def learn(self, run: Run, write_id: str | None) -> None:
        """The run as that write left it, or as it was read with that signature. Without one it is read each time."""
        self._runs[run.job_id] = (write_id or "", run)

    def forget_others(self, there: Iterable[Run]) -> None:
        """Keep only runs that are still there."""
        self._runs = {run.job_id: self._runs[run.job_id] for run in there if run.job_id in self._runs}
