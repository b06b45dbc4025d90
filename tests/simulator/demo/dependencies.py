"""Who waits for whom: keys of steps and groups become the handles of steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from tests.simulator.demo.model import DemoStep
from tests.simulator.demo.written import Mistake


class Handle(str):
    """The handle of a step: none that a pipeline file names, whatever text stands in it."""

    __slots__ = ()


Need = tuple[str, bool]
"""The key or the handle of a step, or the key of a group; and whether it may fail."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A step whose dependencies are not looked up yet: keys of steps and groups, and whether they may fail."""

    made: DemoStep
    needs: tuple[Need, ...]
    line: int


class Dependencies:
    """All steps of a pipeline. A step may depend on one that stands after it."""

    def __init__(self) -> None:
        self._drafts: list[_Draft] = []
        self._keys: dict[str, list[str]] = {}

    def resolved(self) -> tuple[DemoStep, ...]:
        """All steps, each with what it waits for.

        Raises:
            Mistake: a step depends on what is not there, or on itself by way of others.
        """
        self._refuse_cycles()
        return tuple(self._resolved(draft) for draft in self._drafts)

    def add(self, made: DemoStep, needs: tuple[Need, ...], key: str, line: int) -> None:
        handle = made.step.handle
        if key and self._keys.get(key) != [handle]:
            self.name(key, [handle], line)
        self._drafts.append(_Draft(made, needs, line))

    def name(self, key: str, handles: Sequence[str], line: int) -> None:
        if key in self._keys:
            raise Mistake(line, f"`key: {key}` is another step's already; give each step a key of its own")
        self._keys[key] = list(handles)

    def _resolved(self, draft: _Draft) -> DemoStep:
        needs: dict[str, bool] = {}
        for name, may_fail in draft.needs:
            for handle in self._handles(name, draft.line):
                needs[handle] = needs.get(handle, True) and may_fail
        tolerates = tuple(handle for handle, may_fail in needs.items() if may_fail)
        return replace(draft.made, step=replace(draft.made.step, waits_for=tuple(needs), tolerates=tolerates))

    def _handles(self, name: str, line: int) -> list[str]:
        if isinstance(name, Handle):
            return [name]
        if name not in self._keys:
            there = ", ".join(sorted(self._keys)) or "none"
            raise Mistake(line, f"`depends_on` names {name}, which is no step's key. Keys: {there}")
        return self._keys[name]

    def _refuse_cycles(self) -> None:
        graph = {
            draft.made.step.handle: [handle for name, _ in draft.needs for handle in self._handles(name, draft.line)]
            for draft in self._drafts
        }
        lines = {draft.made.step.handle: draft.line for draft in self._drafts}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            around = sorted({lines[handle] for handle in error.args[1]})
            where = ", ".join(map(str, around))
            raise Mistake(around[0], f"these steps wait for each other for ever: those of lines {where}") from None
