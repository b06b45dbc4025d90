"""Turns the steps of a pipeline file into those of a build: who waits for whom, and how many jobs come of each.

A wait or block step waits for all before it, and all after it wait for it, unless they name what they depend on.

Source: the public documentation's pages about dependencies, wait, block, group and command steps.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.simulator.buildkite import Step, StepKind
from tests.simulator.demo import values
from tests.simulator.demo.command_jobs import jobs_of
from tests.simulator.demo.dependencies import Dependencies, Handle, Need
from tests.simulator.demo.model import Demo, DemoStep
from tests.simulator.demo.written import Mistake, Note, Written
from tests.simulator.demo.yaml_lines import line_of

_KINDS = {
    "wait": "wait", "waiter": "wait", "block": "block", "manual": "block", "input": "input",
    "trigger": "trigger", "group": "group",
    "command": "command", "commands": "command", "script": "command", "plugins": "command",
}  # fmt: skip
_KEY = re.compile(r"[A-Za-z0-9_:-]+")


@dataclass(slots=True)
class _Scope:
    """The steps of the pipeline or of one group, as far as they are read.

    Attributes:
        barrier: what a step waits for that names nothing.
        before: what a wait step waits for.
    """

    barrier: tuple[Need, ...] = ()
    before: list[str] = field(default_factory=list)
    group: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    must: tuple[Need, ...] = ()
    skip: str | None = None


class Expansion:
    """Reads steps one after the other."""

    def __init__(self, *, agents: Sequence[str], priority: int, notes: list[Note], real_agent: bool) -> None:
        self._agents = agents
        self._priority = priority
        self._notes = notes
        self._real_agent = real_agent
        self._needs = Dependencies()
        self._count = 0

    def steps(self, steps: Any, line: int) -> tuple[DemoStep, ...]:  # noqa: ANN401
        """All steps of the file.

        Raises:
            Mistake: names the line.
        """
        self._read_all(steps, line, _Scope())
        return self._needs.resolved()

    def _read_all(self, steps: Any, line: int, scope: _Scope) -> None:  # noqa: ANN401
        if not isinstance(steps, list) or not steps:
            raise Mistake(line, "`steps` should be a list with at least one step")
        for number, step in enumerate(steps):
            self._read(step, line_of(steps, [number]), scope)

    def _read(self, step: Any, line: int, scope: _Scope) -> None:  # noqa: ANN401
        if isinstance(step, str) and step in _KINDS:
            step = {step: None}
        written = Written(step, line=line, what="a step", notes=self._notes)
        names = [name for name in _KINDS if written.has(name)]
        stated = written.raw("type")
        names = names or ([stated] if isinstance(stated, str) and stated in _KINDS else [])
        if not names:
            raise Mistake(line, "this step has none of command, plugins, wait, block, input, trigger and group")
        kind = _KINDS[names[0]]
        written = Written(step, line=line, what=f"a {kind} step", notes=self._notes)
        written.raw("type")
        key = written.take("key", values.text, "", "id", "identifier")
        if key and not _KEY.fullmatch(key):
            raise Mistake(line, f"`key: {key}` may have letters, digits, - and _ only")
        self._count += 1
        handle = _handle(self._count)
        own = self._own_needs(written)
        if kind == "group":
            self._group(written, line, key, own, scope)
        elif kind == "command":
            self._command(written, line, key, handle, own, scope)
        else:
            self._other(kind, names[0], written, line, key, handle, own, scope)
        written.rest()

    def _own_needs(self, written: Written) -> tuple[Need, ...] | None:
        """What the step says it depends on; None when it says nothing."""
        allowed = written.take("allow_dependency_failure", values.flag, default=False)
        if not written.has("depends_on"):
            return None
        return tuple((key, allowed or may) for key, may in written.take("depends_on", values.depends_on, ()))

    def _other(
        self,
        kind: str,
        name: str,
        written: Written,
        line: int,
        key: str,
        handle: str,
        own: tuple[Need, ...] | None,
        scope: _Scope,
    ) -> None:
        """A wait, block, input or trigger step."""
        said = written.take(name, values.text, "")
        label = written.take("label", values.text, said, "name") or said or kind
        tolerant = written.take("continue_on_failure", values.flag, default=False) if kind == "wait" else False
        fields: Mapping[str, str] = {}
        skip = scope.skip
        if kind in {"block", "input"}:
            written.raw("prompt", "blocked_state", "allowed_teams")
            fields = _fields(written)
            filled = f", with {', '.join(f'{k}={v}' for k, v in fields.items())}" if fields else ""
            written.note(name, f"releases itself after a moment{filled}")
        if kind == "trigger":
            written.raw("build", "async")
            written.note(name, "is not played: there is no other pipeline here; it counts as passed")
            skip = f"triggers {said}"
        barrier = kind in {"wait", "block"}
        everything = tuple((before, tolerant) for before in scope.before)
        needs = own if own is not None else everything if barrier else () if kind == "input" else scope.barrier
        step = Step(
            kind={"wait": StepKind.WAIT, "trigger": StepKind.COMMAND}.get(kind, StepKind.BLOCK),
            command="true",
            label=label,
            key=key or None,
            handle=handle,
            group=scope.group,
            skip=skip,
        )
        self._needs.add(DemoStep(step=step, demo=Demo(), line=line, fields=fields), (*scope.must, *needs), key, line)
        if kind != "input":
            scope.before.append(handle)
        if barrier:
            scope.barrier = ((handle, False),)

    def _group(self, written: Written, line: int, key: str, own: tuple[Need, ...] | None, scope: _Scope) -> None:
        if scope.group is not None:
            raise Mistake(line, "a group stands in a group, which Buildkite refuses")
        label = written.take("group", values.text, "") or written.take("label", values.text, "", "name") or "Group"
        written.raw("label", "name")
        inner = _Scope(
            barrier=own if own is not None else scope.barrier,
            group=label,
            env={"BUILDKITE_GROUP_LABEL": label, **({"BUILDKITE_GROUP_KEY": key} if key else {})},
            must=own or (),
            skip=written.take("skip", values.skip, None),
        )
        first = self._count
        self._read_all(written.raw("steps"), line, inner)
        handles = [_handle(number) for number in range(first + 1, self._count + 1)]
        if key:
            self._needs.name(key, handles, line)
        scope.before.extend(inner.before)

    def _command(
        self,
        written: Written,
        line: int,
        key: str,
        handle: str,
        own: tuple[Need, ...] | None,
        scope: _Scope,
    ) -> None:
        demo = written.model("demo", Demo)
        needs = (*scope.must, *(own if own is not None else scope.barrier))
        if demo.standby and needs:
            raise Mistake(
                written.line("demo"), "`demo.standby` comes in a build of its own, and waits for no other step"
            )
        timeout = written.take("timeout_in_minutes", values.at_least(0), 0)
        group = written.take("concurrency_group", values.text, "")
        concurrency = written.take("concurrency", values.at_least(1), 1)
        written.raw("concurrency_method")
        if (group == "") == ("concurrency" in written):
            raise Mistake(line, "`concurrency` and `concurrency_group` go together; this step has one of them")
        step = Step(
            key=key or None,
            handle=handle,
            group=scope.group,
            priority=written.take("priority", values.whole, self._priority),
            timeout=timedelta(minutes=timeout) if timeout else None,
            skip=written.take("skip", values.skip, scope.skip),
            soft_fail=written.take("soft_fail", values.soft_fail, default=False),
            retry=written.take("retry", values.retry, ()),
            concurrency_group=group or None,
            concurrency=concurrency,
        )
        for one in jobs_of(written, step, env=scope.env, agents=self._agents, real_agent=self._real_agent):
            self._needs.add(DemoStep(step=one, demo=demo, line=line), needs, key, line)
        if not demo.standby:
            scope.before.append(handle)


def _fields(written: Written) -> dict[str, str]:
    """What the demo fills into the fields of a block or input step: defaults, else the first option."""
    return written.take("fields", values.fields, {})


def _handle(number: int) -> Handle:
    return Handle(f"step {number}")
