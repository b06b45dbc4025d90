"""Where a cold start goes: the share of each import, and what each AWS client takes on top.

CPU, and Python's own account of imports (`-X importtime`), which is slower than without it: good for shares.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

GROUPS: Mapping[str, tuple[str, ...]] = {
    "boto3 and botocore": ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six"),
    "httpx": ("httpx", "httpcore", "h11", "anyio", "idna", "certifi"),
    "pydantic": ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions"),
    "Powertools": ("aws_lambda_powertools",),
    "our own, with its models": ("agent_stack", "handlers"),
}
OTHERS = "Python itself"
_GROUP_OF = {package: group for group, packages in GROUPS.items() for package in packages}

_PROBE = """
import json, os, sys, time
began = time.process_time()
import handlers.dispatcher, handlers.tracker
steps = {"import": time.process_time() - began}
from agent_stack.wiring.deployment import Deployment
environment = json.loads(sys.argv[1])
def peak():
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
peaks = {"import": peak()}
began = time.process_time()
deployment = Deployment(function="dispatcher", environment=environment)
steps["settings"] = time.process_time() - began
for client in ("dynamodb", "ssm", "ec2"):
    began = time.process_time()
    getattr(deployment, client)
    steps[client] = time.process_time() - began
    peaks[client] = peak()
homes = (sys.argv[2], os.path.dirname(os.__file__))
files = {getattr(module, "__file__", None) or sys.argv[2] for module in list(sys.modules.values())}
strangers = sorted(f for f in files if not f.startswith(homes) or "site-packages" in f)
print(json.dumps({"steps": steps, "peaks": peaks, "strangers": strangers}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One, of a process that has every client at its end.

    Attributes:
        steps: CPU seconds: import, settings, and each client.
        peaks: MiB resident at most, after each.
        shares: of the imports by group; they add up to 1.
        strangers: files of modules that come neither from the artefact nor from Python.
    """

    steps: Mapping[str, float]
    peaks: Mapping[str, float | None]
    shares: Mapping[str, float]
    strangers: tuple[str, ...]


def cold_start(artefact: Path, environment: Mapping[str, str]) -> ColdStart:
    """Start a process with nothing but the artefact on its path.

    Args:
        environment: the function's.
    """
    plain, traced = (_probe(artefact, environment, *options) for options in ((), ("-X", "importtime")))
    found = json.loads(plain.stdout)
    spent = dict.fromkeys((*GROUPS, OTHERS), 0)
    for group, microseconds in attributed(traced.stderr):
        spent[group] += microseconds
    total = sum(spent.values())
    return ColdStart(
        steps=found["steps"],
        peaks=found["peaks"],
        shares={group: microseconds / total for group, microseconds in spent.items()},
        strangers=tuple(found["strangers"]),
    )


def attributed(report: str) -> Iterator[tuple[str, int]]:
    """Each import's own microseconds, and who is to blame: its group, or that of the nearest importer in one."""
    importers: list[tuple[int, str]] = []
    for line in reversed(report.splitlines()):  # importers come after what they import
        if not line.startswith("import time:") or "self [us]" in line:
            continue
        own, _, named = line.removeprefix("import time:").split("|")
        depth = len(named) - len(named.lstrip())
        while importers and importers[-1][0] >= depth:
            importers.pop()
        group = _GROUP_OF.get(named.strip().partition(".")[0]) or (importers[-1][1] if importers else OTHERS)
        importers.append((depth, group))
        yield group, int(own)


def _probe(artefact: Path, environment: Mapping[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    return subprocess.run(
        [sys.executable, "-S", *options, "-c", _PROBE, json.dumps(dict(environment)), str(artefact)],
        env={**environment, **keys, "PYTHONPATH": str(artefact), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=artefact,
        capture_output=True,
        text=True,
        check=True,
    )
