"""One mapping of a pipeline file, read key by key. What is not played is named with its line; nothing is dropped."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from tests.simulator.demo.yaml_lines import line_of

Value = TypeVar("Value")
Default = TypeVar("Default")
Model = TypeVar("Model", bound=BaseModel)

_UNDECIDED = "is not evaluated: the step runs"
NOT_PLAYED: Final[Mapping[str, str]] = {
    "if": _UNDECIDED,
    "if_changed": _UNDECIDED,
    "branches": _UNDECIDED,
    "artifact_paths": "is not played: no artifact is uploaded",
    "cache": "is not played: only Buildkite's hosted agents have it",
    "cancel_on_build_failing": "is not played: the job goes on",
    "checkout": "is not played: nothing is checked out",
    "image": "is not played: jobs run on this machine as it is",
    "notify": "is not played: nobody is notified",
    "secrets": "is not played: there are no cluster secrets here",
    "signature": "is not verified",
}
"""Keys that Buildkite knows and the demo does not play, and what follows from that."""


def in_one_line(text: str) -> str:
    """What a file says may have several lines."""
    return " ".join(text.split())


class Mistake(Exception):
    """Something in the file that cannot be meant so."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(in_one_line(what))
        self.line = line


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """Something in the file that the demo does not play, or plays otherwise."""

    line: int
    what: str


class Written:
    """One mapping. Each key is taken once; `rest` names what was not asked for."""

    def __init__(self, mapping: Any, *, line: int, what: str, notes: list[Note]) -> None:  # noqa: ANN401
        """Begin to read.

        Args:
            what: what it is, as an error calls it: a command step.
        """
        if not isinstance(mapping, Mapping):
            raise Mistake(line, f"{what} should be a mapping of keys and values")
        self._mapping = mapping
        self._line = line
        self._what = what
        self._notes = notes
        self._asked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return self._mapping.get(name) is not None

    def has(self, name: str) -> bool:
        """Whether the key stands there, even with nothing behind it."""
        return name in self._mapping

    def line(self, name: str) -> int:
        """The key's line."""
        return int(getattr(self._mapping, "lines", {}).get(name, self._line))

    def raw(self, *names: str) -> Any:  # noqa: ANN401
        """The value under the first of several names of one key, as it stands; None without one."""
        self._asked.update(names)
        return next((self._mapping[name] for name in names if self._mapping.get(name) is not None), None)

    def take(self, name: str, parse: Callable[[Any], Value], default: Default, *others: str) -> Value | Default:
        """A value in its one form.

        Args:
            others: further names of the same key.

        Raises:
            Mistake: names the line, the key and what may stand there.
        """
        value = self.raw(name, *others)
        if value is None:
            return default
        used, *unused = (one for one in (name, *others) if one in self)
        for one in unused:
            self.note(one, f"is not used, because it is another name of `{used}`; leave one of them")
        try:
            return parse(value)
        except ValueError as error:
            raise Mistake(self.line(used), f"`{used}` {error}") from None

    def model(self, name: str, kind: type[Model]) -> Model:
        """A value that a model describes.

        Raises:
            Mistake: names the line of what does not fit.
        """
        value = self.raw(name)
        try:
            return kind.model_validate(value if value is not None else {})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in (name, *first["loc"]))
            line = max(self.line(name), line_of(value, first["loc"]))
            raise Mistake(line, f"`{place}`: {first['msg']}") from None

    def note(self, name: str, what: str) -> None:
        """Say of a key how it is played."""
        self._notes.append(Note(self.line(name), in_one_line(f"`{name}` {what}")))

    def rest(self) -> None:
        """Name all that was not asked for."""
        for name, value in self._mapping.items():
            if name in self._asked or value is None:
                continue
            if name in NOT_PLAYED:
                shown = f"`{name}: {value.strip()}`" if isinstance(value, str) else f"`{name}`"
                self._notes.append(Note(self.line(name), in_one_line(f"{shown} {NOT_PLAYED[name]}")))
                continue
            alike = difflib.get_close_matches(name, [*self._asked, *NOT_PLAYED], n=1)
            hint = f"; do you mean `{alike[0]}`?" if alike else ""
            self.note(name, f"is no key of {self._what}: it is ignored{hint}")
