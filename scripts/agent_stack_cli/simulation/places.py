"""Where the report and the pictures go: what is there is not replaced, and no day is played for nothing."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_stack_cli.errors import CliError, is_there


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The files that a simulation writes.

    Attributes:
        pictures: a directory; None for no pictures of their own.
        force: whether files that are there are replaced.
    """

    report: Path
    pictures: Path | None
    force: bool

    def files(self, page: str, drawn: Mapping[str, str]) -> dict[Path, str]:
        """Every file and what it holds."""
        if self.pictures is None:
            return {self.report: page}
        return {self.report: page} | {self.pictures / f"{name}.svg": svg for name, svg in drawn.items()}

    def refuse_what_is_there(self, names: Iterable[str]) -> None:
        """Stop before anything is asked for.

        Raises:
            CliError: a file of that name is there.
        """
        for path in self.files("", dict.fromkeys(names, "")):
            if is_there(path) and not self.force:
                raise CliError(
                    f"{path} is there already", next=f"name another place with {self._option(path)}, or add --force"
                )

    def try_to_write(self, names: Iterable[str]) -> None:
        """Before a day is played for minutes, so that no place that cannot be written loses it.

        Raises:
            CliError: there is one.
        """
        for path in self.files("", dict.fromkeys(names, "")):
            with self._written(path):
                there = path.is_symlink() or is_there(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a"):
                    pass
                if not there:
                    path.unlink()

    def write(self, page: str, drawn: Mapping[str, str]) -> None:
        """Write all.

        Raises:
            CliError: one cannot be written.
        """
        for path, text in self.files(page, drawn).items():
            with self._written(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")

    def _option(self, path: Path) -> str:
        return "--report" if path == self.report else "--pictures"

    @contextmanager
    def _written(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = f"name another place with {self._option(path)}"
            raise CliError(f"{path} cannot be written: {error}", next=remedy) from None
