"""What the boot program costs between its start and the agent's: processes, requests, seconds on this machine.

Stock: the image has no agent, which is downloaded and checked. Baked: it has one, and the second stage of the program.
Hot, with `--job-access`: a baked VM that stands by, from the moment that its mailbox has a job.
The seconds are this machine's and wobble; processes and requests do not. What comes before, EC2's own boot, and after,
the agent's registration, is not the boot program's. `--job-access` boots each way with a role for jobs, too.
`--against` compares with an earlier version: a file that `--json` wrote, or a git reference, whose own benchmark is
played now. The seconds have the local VM in them, which is a part of each version; processes and requests are the boot
program's alone.
"""

import argparse
import gzip
import itertools
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.user_data import VM, program_sha256, second_stage
from tests.bench import earlier
from tests.simulator.buildkite import Buildkite, BuildkiteServer
from tests.simulator.vm.imds import FakeImds
from tests.simulator.vm.process import AGENT_STUB, LocalVm
from tests.vm.harness import Aws, VmHarness, download_server

ROUNDS = 5
JOB_ROLE = "arn:aws:iam::123456789012:role/jobs|/ci/pipelines||"
COUNTING = """#!/bin/bash
# Notes that it was started, and becomes the real one.
echo "{name}" >>"$LOCAL_VM_STARTED"
exec {path} "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One way of booting."""

    way: str
    by_program: Mapping[str, int]
    requests: Mapping[str, int]
    seconds_median: float
    seconds_shortest: float

    @property
    def processes(self) -> int:
        """Programs started; subshells of bash are not counted."""
        return sum(self.by_program.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both ways; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/bench boot", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="each way once")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, for --against")
    parser.add_argument("--against", metavar="FILE_OR_REF", help="an earlier version")
    parser.add_argument("--job-access", action="store_true", help="each way with a role for jobs, too, and a hot start")
    options, _ = parser.parse_known_args(arguments)  # the others are for other benchmarks
    before: earlier.Rows = ()
    if options.against:
        try:
            before = earlier.measured_by(options.against, ["--quick"] if options.quick else [])
        except earlier.EarlierError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    measured = measure(1 if options.quick else ROUNDS, ("", JOB_ROLE) if options.job_access else ("",))
    if options.json:
        sys.stdout.write(json.dumps([asdict(row) for row in measured], indent=2) + "\n")
        return 0
    sys.stdout.write(_table(measured))
    if before:
        sys.stdout.write(f"{options.against}, here and now:\n{earlier.table(before)}")
        sys.stdout.write(earlier.compared(measured, before))
    return 0


def measure(rounds: int, roles: Sequence[str]) -> list[Measured]:
    """Each way of booting, with each of these roles for jobs."""
    measured = []
    ways = ("stock", "baked", "hot") if len(roles) > 1 else ("stock", "baked")
    with _yard() as harness, download_server(AGENT_STUB.read_bytes()) as downloads:
        for way, role in itertools.product(ways, roles):
            header = {"AGENT_DOWNLOAD_URL": downloads.origin, "JOB_AWS": role}
            name = f"{way}{'+role' if role else ''}"
            seconds = sorted(_seconds(harness, f"i-{name}{n}", way, header) for n in range(rounds))
            started, requests = _counts(harness, f"i-{name}c", way, header)
            measured.append(
                Measured(
                    way=name,
                    by_program=dict(started.most_common()),
                    requests=dict(requests),
                    seconds_median=round(seconds[rounds // 2], 3),
                    seconds_shortest=round(seconds[0], 3),
                )
            )
    return measured


def _seconds(harness: VmHarness, instance_id: str, way: str, header: Mapping[str, str | None]) -> float:
    booted = _boot(harness, instance_id, way, header, {})
    booted.vm.stop()
    return booted.seconds


def _counts(
    harness: VmHarness, instance_id: str, way: str, header: Mapping[str, str | None]
) -> tuple[Counter[str], Counter[str]]:
    with tempfile.NamedTemporaryFile("r", suffix=".started") as started:
        booted = _boot(harness, instance_id, way, header, {"LOCAL_VM_STARTED": started.name})
        before, vm = booted.before, booted.vm
        names = Counter(started.read().split()[before.programs :])
        effects = [line.split()[0] for line in vm.effects()[before.effects :]]
        requests = Counter(step.partition(" ")[0] for step in harness.steps(vm)[before.steps :] if ":" in step)
        metadata = harness.imds.requests_of(instance_id)[before.metadata :]
        requests["metadata"] = len([request for request in metadata if "spot" not in request])
        requests["download"] = 2 if way == "stock" else 0
        vm.stop()
    names.update(effect for effect in effects if effect in {"systemd-run", "systemctl", "useradd"})
    return names, requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """How much there was of each when a VM that stands by was given its job."""

    programs: int = 0
    effects: int = 0
    steps: int = 0
    metadata: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """A VM whose agent has just started, and the seconds until then."""

    vm: LocalVm
    seconds: float
    before: Before


def _boot(
    harness: VmHarness, instance_id: str, way: str, header: Mapping[str, str | None], environment: dict[str, str]
) -> Booted:
    job_id, token = harness.reserve("sleep 60")
    if way != "hot":
        harness.fill(instance_id, job_id, token)
    files: dict[str, str | Path] = (
        {f"bin/{name}": COUNTING.format(name=name, path=path) for name, path in _programs()} if environment else {}
    )
    if way != "stock":
        packed = Path(tempfile.gettempdir()) / f"{program_sha256()}-{os.getpid()}.gz"
        packed.write_bytes(gzip.compress(second_stage().encode()))
        files[f"var/cache/agent-stack/{program_sha256()}.gz"] = packed
    began, before = time.monotonic(), Before()
    vm = harness.boot(
        instance_id,
        agent=None if way == "stock" else AGENT_STUB,
        header=header,
        environment=environment,
        files=files,
        hold=600 if way == "hot" else None,
    )
    if way == "hot":
        while "stands by" not in vm.console():
            time.sleep(0.005)
        before = Before(
            programs=len(Path(environment["LOCAL_VM_STARTED"]).read_text().split()) if environment else 0,
            effects=len(vm.effects()),
            steps=len(harness.steps(vm)),
            metadata=len(harness.imds.requests_of(instance_id)),
        )
        began = time.monotonic()
        harness.fill(instance_id, job_id, token)
    while not any(step == "agent-stack-agent" for step in harness.steps(vm)):
        time.sleep(0.005)
    return Booted(vm=vm, seconds=time.monotonic() - began, before=before)


def _programs() -> Iterator[tuple[str, Path]]:
    """The programs that the boot program's files name and this machine has."""
    words = set(re.findall(r"\b[a-z][a-z0-9-]+\b", "".join(path.read_text() for path in VM.rglob("*.sh"))))
    for word in sorted(words):
        path = Path("/usr/bin") / word
        shim = Path(__file__).parents[1] / "simulator" / "vm" / "shims" / word
        if path.is_file() and not shim.exists() and word not in {"bash", "env"}:
            yield word, path


def _table(measured: Sequence[Measured]) -> str:
    lines = ["            processes  requests  seconds until the agent starts (median, shortest)"]
    lines += [
        f"{row.way:<12}{row.processes:>9}{sum(row.requests.values()):>10}"
        f"  {row.seconds_median:>6} {row.seconds_shortest:>6}"
        for row in measured
    ]
    for row in measured:
        lines.append(f"{row.way}: {', '.join(f'{count} {name}' for name, count in row.by_program.items())}")
        lines.append(f"  requests: {', '.join(f'{count} {name}' for name, count in row.requests.items() if count)}")
    lines.append(
        "What remains: metadata for identity and keys, the mailbox (read, booting, take), each request a process"
    )
    lines.append("of curl; unpacking, and two units; stock also downloads and checks the agent.")
    return "\n".join(lines) + "\n"


@contextmanager
def _yard() -> Iterator[VmHarness]:
    aws = Aws()
    buildkite = Buildkite(now=lambda: datetime.now(UTC))
    expire_at = datetime.now(UTC) + timedelta(hours=6)
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            FakeImds(credentials_expire_at=expire_at) as imds,
            BuildkiteServer(buildkite) as server,
        ):
            harness = VmHarness(aws=aws, directory=Path(directory), imds=imds, server=server, buildkite=buildkite)
            try:
                yield harness
            finally:
                harness.close()
    finally:
        aws.close()


if __name__ == "__main__":
    sys.exit(main())
