"""YAML as Buildkite reads it, with the line of every key and every item.

Buildkite reads YAML 1.2: `yes`, `on` and `12:30` are texts there. PyYAML reads 1.1, so plain words are resolved here.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import yaml

Path = Sequence[str | int]


class Mapping(dict[str, Any]):
    """A mapping that knows the line of each of its keys."""

    line: int
    lines: dict[str, int]


class Items(list[Any]):
    """A list that knows the line of each of its items."""

    line: int
    lines: list[int]


class YamlError(ValueError):
    """The text is not YAML, or not of the kind that a pipeline is; says on which line."""

    def __init__(self, line: int | None, column: int | None, what: str) -> None:
        super().__init__(what)
        self.line, self.column = line, column


class _Loader(yaml.SafeLoader):
    """Safe, and with lines."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # the stubs know it of instances only


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


_resolve("null", r"~|null|Null|NULL|", "~nN\0")
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile("^$")))
_resolve("bool", r"true|True|TRUE|false|False|FALSE", "tTfF")
_resolve("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789")
_resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789")
_resolve("merge", "<<", "<")


def _integer(_loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value.replace("+", "")
    try:
        return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
    except ValueError:
        mark, what = node.start_mark, f"a number of {len(text)} digits is too long; write it in quotes"
        raise YamlError(mark.line + 1, mark.column + 1, what) from None


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[Mapping]:
    made = Mapping()
    made.line, made.lines = node.start_mark.line + 1, {}
    yield made
    own: set[str] = set()
    for key_node, _ in node.value:
        if key_node.tag.endswith(":merge"):
            continue
        name = str(loader.construct_object(key_node, deep=True))
        if name in own:
            mark = key_node.start_mark
            raise YamlError(mark.line + 1, mark.column + 1, f"`{name}` stands twice in one mapping; leave one of them")
        own.add(name)
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        name = str(loader.construct_object(key_node, deep=True))
        made[name] = loader.construct_object(value_node, deep=True)
        made.lines[name] = key_node.start_mark.line + 1


def _items(loader: _Loader, node: yaml.SequenceNode) -> Iterator[Items]:
    made = Items()
    made.line = node.start_mark.line + 1
    made.lines = [item.start_mark.line + 1 for item in node.value]
    yield made
    made.extend(loader.construct_object(item, deep=True) for item in node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _items)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def load(text: str) -> Any:  # noqa: ANN401  (whatever stands in the file)
    """The document.

    Raises:
        YamlError: names the line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(mark.line + 1 if mark else None, mark.column + 1 if mark else None, what) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        raise YamlError(line, column, f"a character that cannot stand there: #x{error.character:04x}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(None, None, str(error) or type(error).__name__) from None


def line_of(document: Any, path: Path) -> int:  # noqa: ANN401
    """The line of what stands at a path, or of the nearest that is there."""
    line, at = getattr(document, "line", 1), document
    for part in path:
        if isinstance(at, Mapping) and part in at.lines:
            line, at = at.lines[str(part)], at[str(part)]
        elif isinstance(at, Items) and isinstance(part, int) and part < len(at):
            line, at = at.lines[part], at[part]
        else:
            break
    return line
