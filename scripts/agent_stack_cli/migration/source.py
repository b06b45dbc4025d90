"""The parameters of an Elastic CI Stack, from the files that people keep them in, or from the live stack."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from botocore.exceptions import ClientError

from agent_stack_cli.errors import DENIED, CliError, code_of, words_of
from agent_stack_cli.session import Session

FORMS = (
    "a list of ParameterKey and ParameterValue, a list of Name=value, a mapping of names and values "
    "(also below Parameters), or what aws cloudformation describe-stacks prints; as JSON or YAML"
)
_NAME = re.compile(r"[A-Za-z0-9]+")
USE_A_FILE = f"name a file that holds {FORMS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was read.

    Attributes:
        stack: the name of the stack; empty where the source does not say it.
        unread: names whose value the source does not hold.
    """

    given: dict[str, str]
    stack: str = ""
    unread: list[str] = field(default_factory=list)


def of_text(text: str, name: str) -> Source:
    """The parameters in a file.

    Raises:
        CliError: it holds none, or something else.
    """
    try:
        return _of(_opened(text.removeprefix("\ufeff")), name)
    except RecursionError:
        raise CliError(f"{name} is nested too deeply to hold parameters", next=USE_A_FILE) from None
    except _TwiceError as error:
        raise CliError(f"{name} gives {error} two values", next="leave the one that the stack has") from None
    except _NotJsonError as error:
        raise CliError(f"{name} is neither JSON nor YAML ({error})", next=USE_A_FILE) from None
    except _ValueError as error:
        raise CliError(f"{name} gives {error} a mapping, and a parameter's value is a text", next=USE_A_FILE) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""  # the text around it may hold a token
        raise CliError(f"{name} is neither JSON nor YAML{where}", next=USE_A_FILE) from None


def of_stack(session: Session, name: str) -> Source:
    """The parameters of the live stack.

    Raises:
        CliError: there is no such stack, or the operator may not read it.
    """
    try:
        shown = session.cloudformation.describe_stacks(StackName=name)
    except ClientError as error:
        if code_of(error) in DENIED:
            raise _refused(session, name, error) from None
        if code_of(error) != "ValidationError":
            raise
        raise CliError(
            f"there is no stack {name} in {session.region}",
            next=session.aws("cloudformation", "list-stacks", "--query", "StackSummaries[].StackName"),
        ) from None
    return _of({"Stacks": shown["Stacks"]}, name)


def _refused(session: Session, name: str, error: ClientError) -> CliError:
    """The printed policies are for a stack of this project, and there is none yet."""
    shown = session.aws("cloudformation", "describe-stacks", "--stack-name", name)
    return CliError(
        words_of(error),
        next=f"allow cloudformation:DescribeStacks on the stack {name}. Or who may read it runs: {shown} > stack.json, "
        f"and you: {session.agent_stack('migrate', 'stack.json')}",
    )


class _ValueError(Exception):
    """A parameter has a value that CloudFormation cannot have given it."""


class _NotJsonError(Exception):
    """The text was meant as JSON, and is none from that place on."""


class _TwiceError(Exception):
    """A mapping holds a name with two values, of which a parser would keep the last."""


class _Texts(yaml.BaseLoader):
    """Makes texts, lists and mappings only. Every value stays the text that CloudFormation gets: no date, no yes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: ARG002, FBT001, FBT002  (PyYAML's own)
        pairs = [
            (self.construct_object(key, deep=True), self.construct_object(value, deep=True))
            for key, value in node.value
        ]
        if any(isinstance(key, (dict, list)) for key, _ in pairs):
            raise yaml.constructor.ConstructorError(None, None, "a name is a text", node.start_mark)
        return _once(pairs)


_Texts.add_constructor("tag:yaml.org,2002:map", _Texts.construct_mapping)


def _once(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    read: dict[Any, Any] = {}
    for name, value in pairs:
        if name in read and read[name] != value:
            raise _TwiceError(name)
        read[name] = value
    return read


def _opened(text: str) -> Any:  # noqa: ANN401  (whatever the file holds)
    try:
        return json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith("{"):
            return yaml.load(text, Loader=_Texts)  # noqa: S506  (it makes texts, lists and mappings only)
        comment = text.startswith(("//", "/*"), error.pos)  # which YAML takes for a part of a name
        where = f"line {error.lineno}" + (", and JSON takes no comments" if comment else "")
        try:
            held = yaml.load(text, Loader=_Texts)  # noqa: S506  (see above)
        except yaml.YAMLError:
            raise _NotJsonError(where) from None
        if not all(map(_NAME.fullmatch, map(str, held))):
            raise _NotJsonError(where) from None
        return held


def _of(held: Any, name: str, stack: str = "") -> Source:  # noqa: ANN401  (whatever the file holds)
    if _is_template(held):
        raise CliError(f"{name} is a template, which declares parameters; name a file of parameters", next=USE_A_FILE)
    if isinstance(held, dict) and isinstance(stacks := held.get("Stacks"), list):
        if len(stacks) != 1:
            raise CliError(
                f"{name} holds {len(stacks)} stacks, and one is migrated at a time",
                next="aws cloudformation describe-stacks --stack-name NAME > stack.json",
            )
        return _of(stacks[0], name)
    if isinstance(held, dict) and isinstance(held.get("Parameters"), dict | list):
        return _of(held["Parameters"], name, str(held.get("StackName", "")))
    pairs = list(_pairs(held))
    if not pairs or any(key is None for key, _ in pairs):
        raise CliError(f"{name} holds no parameters", next=USE_A_FILE)
    given, unread = dict[str, str](), list[str]()
    for key, value in pairs:
        if value is None:
            unread.append(str(key))
        elif given.setdefault(str(key), value) != value:
            raise CliError(f"{name} gives {key} two values", next="leave the one that the stack has")
    return Source(given=given, stack=stack, unread=unread)


def _is_template(held: Any) -> bool:  # noqa: ANN401  (whatever the file holds)
    """Also what `aws cloudformation get-template` and `get-template-summary` print, or a section of a template."""
    entries = held.values() if isinstance(held, dict) else held if isinstance(held, list) else ()
    sections = {"AWSTemplateFormatVersion", "Resources", "TemplateBody"}
    return (isinstance(held, dict) and not sections.isdisjoint(held)) or any(
        isinstance(entry, Mapping) and ("Type" in entry or "ParameterType" in entry) for entry in entries
    )


def _pairs(held: Any) -> Iterable[tuple[str | None, str | None]]:  # noqa: ANN401  (whatever the file holds)
    if isinstance(held, dict):
        yield from ((str(key), _text(value, of=key)) for key, value in held.items())
    for entry in held if isinstance(held, list) else ():
        if isinstance(entry, Mapping) and "ParameterKey" in entry:
            yield str(entry["ParameterKey"]), _value(entry)
        elif isinstance(entry, str) and "=" in entry:
            key, _, value = entry.partition("=")
            yield key.strip(), value
        else:
            yield None, None


def _value(entry: Mapping[str, Any]) -> str | None:
    """None where the file says that the value stays what it is."""
    if "ParameterValue" not in entry:
        return None if _text(entry.get("UsePreviousValue", "")) == "true" else ""
    return _text(entry["ParameterValue"], of=entry["ParameterKey"])


def _text(value: Any, *, of: object = "a parameter") -> str:  # noqa: ANN401  (whatever the file holds)
    if isinstance(value, Mapping):
        raise _ValueError(of)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(_text(one, of=of) for one in value) if isinstance(value, list) else str(value)
