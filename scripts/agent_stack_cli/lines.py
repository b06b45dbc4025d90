"""Lines of the functions' logs: found by an id that they contain, or by their level."""

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from agent_stack_cli.errors import code_of
from agent_stack_cli.records import FUNCTIONS
from agent_stack_cli.stacks import Stack

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
"""What sets a colour, as agents write it; it says nothing in a log that is piped, searched or read as JSON."""

MOST_LINES = 2_000
"""Lines kept at most, the newest, so that a story of a loop ends."""

OF_EVERY_LINE = frozenset(
    {
        "cold_start", "correlation_id", "fence", "function_arn", "function_memory_size", "function_name",
        "function_request_id", "level", "location", "message", "sampling_rate", "service", "timestamp",
        "version", "xray_trace_id",
    }
)  # fmt: skip
"""Keys that say nothing of what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a log.

    Attributes:
        function: dispatcher, tracker, or the VM's id.
        facts: the keys that vary, such as reason or error.
    """

    at: datetime
    function: str
    level: str
    message: str
    facts: Mapping[str, Any]

    @property
    def said(self) -> str:
        """The facts in one text."""
        return ", ".join(f"{name}: {value}" for name, value in self.facts.items())


def mentioning(stack: Stack, words: Iterable[str], *, since: datetime, until: datetime | None = None) -> list[Line]:
    """Lines of both functions that contain one of these words, in order of time."""
    found = {
        (line.at, line.function, line.message, line.said): line
        for word in words
        for function in FUNCTIONS
        for line in _filtered(stack, function, f'"{word}"', since, until)
    }
    return sorted(found.values(), key=lambda line: line.at)


def errors(stack: Stack, *, since: datetime) -> list[Line]:
    """Lines of level ERROR of both functions, and what Lambda says of invocations that failed; the latest first."""
    found = [
        line
        for function in FUNCTIONS
        for pattern in ('"ERROR"', '"Task timed out"')
        for line in _filtered(stack, function, pattern, since, None)
        if line.level == "ERROR"
    ]
    return sorted(found, key=lambda line: line.at, reverse=True)


def has_any(stack: Stack, function: str, *, since: datetime) -> bool:
    """Whether that function has written any line since then."""
    pages = stack.session.logs.get_paginator("filter_log_events").paginate(
        logGroupName=stack.log_group(function),
        startTime=int(since.timestamp() * 1000),
        PaginationConfig={"PageSize": 1},
    )
    try:
        return any(page["events"] for page in pages)
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return False


def of_vm(stack: Stack, instance_id: str) -> list[Line]:
    """What a VM's boot program and agent wrote; empty when VmLogs is console."""
    lines = []
    for event in _events(stack, stack.log_group("vms"), streams=[instance_id]):
        at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
        lines.append(
            Line(
                at=at, function=instance_id, level="", message=_COLOUR.sub("", event["message"].rstrip("\n")), facts={}
            )
        )
    return lines


def texts(stack: Stack, group: str, *, stream: str, pattern: str) -> list[str]:
    """What one stream of any log group says about that pattern; empty where there is none."""
    return [str(event["message"]) for event in _events(stack, group, pattern=pattern, streams=[stream])]


def link(stack: Stack, group: str, stream: str = "") -> str:
    """The CloudWatch console's page of that log."""
    region = stack.session.region
    twice = quote(quote(group, safe=""), safe="").replace("%", "$")
    place = f"log-groups/log-group/{twice}"
    if stream:
        place += f"/log-events/{quote(quote(stream, safe=''), safe='').replace('%', '$')}"
    return f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:{place}"


def _filtered(stack: Stack, function: str, pattern: str, since: datetime, until: datetime | None) -> list[Line]:
    return [
        _line(function, event["message"], event["timestamp"])
        for event in _events(stack, stack.log_group(function), pattern=pattern, since=since, until=until)
    ]


def _events(
    stack: Stack,
    group: str,
    *,
    pattern: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    streams: list[str] | None = None,
) -> Sequence[Mapping[str, Any]]:
    """The newest events, oldest first; none where the group or the stream is not there: nothing was written then.

    FilterLogEvents knows one order only, oldest first. So all pages are read, and the last lines are kept.
    """
    asked: dict[str, Any] = {"logGroupName": group}
    if pattern:
        asked["filterPattern"] = pattern
    if streams:
        asked["logStreamNames"] = streams
    if since is not None:
        asked["startTime"] = int(since.timestamp() * 1000)
    if until is not None:
        asked["endTime"] = int(until.timestamp() * 1000)
    newest: deque[Mapping[str, Any]] = deque(maxlen=MOST_LINES)
    try:
        for page in stack.session.logs.get_paginator("filter_log_events").paginate(**asked):
            newest.extend(page["events"])
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
    return newest


def _line(function: str, text: str, milliseconds: int) -> Line:
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    if not isinstance(record, dict) or "message" not in record:
        level = "ERROR" if "Task timed out" in text or text.startswith("[ERROR]") else ""
        return Line(at=at, function=function, level=level, message=text.strip(), facts={})
    facts = {name: value for name, value in record.items() if name not in OF_EVERY_LINE}
    return Line(
        at=at, function=function, level=str(record.get("level", "")), message=str(record["message"]), facts=facts
    )
