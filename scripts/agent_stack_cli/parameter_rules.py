"""The template's parameters and their bounds, and what is wrong with given ones. Needs the standard library only.

`scripts/deploy` runs this file before it builds anything: python3 parameter_rules.py Name=value …
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

MAX_COST_TAGS = (
    40  # as in agent_stack/setting_kinds.py, which cannot be imported before the build; a test holds them together
)
AMAZON_LINUX, UBUNTU = "amazon-linux-2023", "ubuntu-server-24-lts"
"""What BakeImage may be; a test holds them together with the template."""
MAX_STACK_KEY = 80
DEFAULT_QUEUES = ("_default", "__default__")
"""As in agent_stack/domain; a test holds them together."""
MONEY = "Usd"
"""The end of the names of amounts, which may have cents although default and bounds have none."""
SPECIFICATION = Path(__file__).with_name("parameters.json")


@cache
def specification() -> Mapping[str, Mapping[str, Any]]:
    """Every parameter of the template, as scripts/generate wrote them."""
    read: Mapping[str, Mapping[str, Any]] = json.loads(SPECIFICATION.read_text())
    return read


def problems(given: Mapping[str, str], *, complete: bool = False) -> Iterator[str]:
    """One text for each parameter that CloudFormation would refuse or, worse, ignore.

    Args:
        complete: whether these are all that a new stack gets, so that what has no default must be there.
    """
    known = specification()
    for name, value in given.items():
        if name not in known:
            yield f"there is no parameter {name}{_nearest(name, list(known))}"
        elif said := _misfit(name, known[name], value) or _AS_A_WHOLE.get(name, _nothing)(value):
            yield f"{name}={value!r}: {said}"
    if complete:
        for name, parameter in known.items():
            if "Default" not in parameter and name not in given:
                yield f"{name} is missing: {parameter['Description']}"
    defaults = {name: str(known[name]["Default"]) for name in known if "Default" in known[name]} if complete else {}
    yield from _misfits({**defaults, **given})


def nearest(name: str, candidates: Sequence[str]) -> str:
    """The candidate that was meant, perhaps; empty for none."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    found = get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def _nearest(name: str, candidates: Sequence[str]) -> str:
    found = nearest(name, candidates)
    return f"; did you mean {found}?" if found else ""


def _nothing(_value: str) -> str:
    return ""


def _tags(value: str) -> str:
    keys = [pair.partition("=")[0].strip() for pair in value.split(",") if pair.strip()]
    if len(keys) > MAX_COST_TAGS:
        return f"there are {len(keys)} tags; EC2 leaves room for {MAX_COST_TAGS}"
    twice = sorted({key for key in keys if keys.count(key) > 1})
    return f"these keys are given twice: {', '.join(twice)}; give each once" if twice else ""


def _queues(value: str) -> str:
    keys = list(dict.fromkeys(key.strip() for key in value.split(",") if key.strip()))
    if not keys:
        return "it names no queue; name one, such as default"
    aliases = [key for key in keys if key in DEFAULT_QUEUES]
    if len(aliases) > 1:
        return f"{' and '.join(aliases)} are one queue; keep one"
    names = [re.sub("[^A-Za-z0-9_-]", "-", key) for key in keys]
    alike = [key for key, name in zip(keys, names, strict=True) if names.count(name) > 1]
    said = f"the stack keys of {', '.join(alike)} would be the same; give all but one a stack of its own"
    return said if alike else ""


_AS_A_WHOLE: Mapping[str, Callable[[str], str]] = {"CostTags": _tags, "Queues": _queues}
"""What CloudFormation cannot see in a list, and the functions would refuse in the middle of the deployment."""


def _misfits(values: Mapping[str, str]) -> Iterator[str]:
    """What is right one by one and wrong together, where all of it is known; CloudFormation cannot compare numbers."""
    texts = {name: values.get(name, "").strip() for name in ("SweepGraceSeconds", "UnassignedTimeoutSeconds")}
    if all(text.isascii() and text.isdigit() for text in texts.values()):
        least = int(texts["UnassignedTimeoutSeconds"]) - 60
        if int(texts["SweepGraceSeconds"]) < least:
            given = ", ".join(f"{name}={text}" for name, text in texts.items())
            yield f"{given}: VMs that can still get a job would be terminated; set SweepGraceSeconds to {least} or more"
    if values.get("AgentTokenParameter", "").startswith("arn:") and values.get("AgentCredential") == "agent-token":
        yield (
            "AgentTokenParameter is an ARN and AgentCredential=agent-token, with which VMs read it by its name in this "
            "account; set AgentCredential to job-token, or name a parameter of this account"
        )
    yield from repositories_of_another_system(values)
    for queue in values.get("Queues", "").split(","):
        if "StackKey" in values and len(f"{values['StackKey']}-{queue.strip()}") > MAX_STACK_KEY:
            yield (
                f"StackKey={values['StackKey']!r}: with the queue {queue.strip()} it is longer than {MAX_STACK_KEY} "
                "characters; shorten it"
            )


def repositories_of_another_system(values: Mapping[str, str]) -> Iterator[str]:
    """Package repositories that the baked system cannot take: a .repo file is one word, apt's has three or more.

    A bake would leave them out, a quarter of an hour after the deployment.
    """
    listed = [member.strip() for member in values.get("BakeImageRepositories", "").split(",") if member.strip()]
    of_apt = [member for member in listed if " " in member]
    of_dnf = [member for member in listed if " " not in member]
    system = values.get("BakeImage", "")
    if system == AMAZON_LINUX:
        for member in of_apt:
            yield (
                f"BakeImageRepositories has {member!r}, a repository of apt's, and BakeImage={system} takes URLs of "
                ".repo files; name the URL of its .repo file, or leave it out"
            )
    elif system == UBUNTU:
        for member in of_dnf:
            yield (
                f"BakeImageRepositories has {member!r}, the URL of a .repo file, and BakeImage={system} takes the "
                "repository's URL, suite, components and the URL of its key, with spaces between them; write it so, or "
                "leave it out"
            )
    elif of_apt and of_dnf and system != "none":
        yield (
            f"BakeImageRepositories has {of_apt[0]!r} of apt's and {of_dnf[0]!r} of dnf's, and an image has one "
            f"system; leave out those of apt's for {AMAZON_LINUX}, the others for {UBUNTU}"
        )


def _misfit(name: str, parameter: Mapping[str, Any], value: str) -> str:
    if parameter["Type"] == "Number" and "AllowedValues" not in parameter:
        return _number(name, parameter, value)
    parts = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
    for part in parts:
        allowed = [str(one) for one in parameter["AllowedValues"]] if "AllowedValues" in parameter else None
        if allowed is not None and part not in allowed:
            return f"it may be {', '.join(allowed)}{_nearest(part, allowed)}"
        pattern = parameter.get("AllowedPattern")
        if pattern is not None and re.fullmatch(pattern, part) is None:
            of = f" ({part!r})" if len(parts) > 1 else ""
            return f"it must be {parameter.get('ConstraintDescription', 'as ' + pattern)}{of}"
    longest = parameter.get("MaxLength")
    return f"it is longer than {longest} characters" if longest is not None and len(value) > int(longest) else ""


def _number(name: str, parameter: Mapping[str, Any], value: str) -> str:
    lowest, highest = parameter.get("MinValue"), parameter.get("MaxValue")
    whole = not name.endswith(MONEY) and all(
        isinstance(one, int) for one in (parameter.get("Default"), lowest, highest) if one is not None
    )
    kind = "a whole number" if whole else "a number"
    bounds = f"{kind} from {lowest} to {highest}" if highest is not None else f"{kind} from {lowest} on"
    # CloudFormation takes 1e3, nan and fractions, too; the functions, which get the text as it is, would not start.
    if not re.fullmatch(r"-?[0-9]+" if whole else r"-?[0-9]+(\.[0-9]+)?", value, re.ASCII):
        return f"it must be {bounds}"
    number = float(value)
    if lowest is not None and number < float(lowest):
        return f"it must be {bounds}; the nearest is {lowest}"
    if highest is not None and number > float(highest):
        return f"it must be {bounds}; the nearest is {highest}"
    return ""


def read_file(text: str) -> dict[str, str]:
    """A parameter file of scripts/deploy: Name=value on each line; # begins a comment.

    Raises:
        ValueError: a line is neither.
    """
    given: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"the line {line!r} is not Name=value")
        given[name.strip()] = value
    return given


if __name__ == "__main__":
    found = list(problems(dict(argument.partition("=")[::2] for argument in sys.argv[1:])))
    for problem in found:
        sys.stderr.write(f"Not deployed: {problem}\n")
    if found:
        sys.stderr.write("Next: correct it; docs/reference/parameters.md lists every parameter and what it may be.\n")
    sys.exit(1 if found else 0)
