"""What the boot program costs between its start and the agent's: processes, requests, seconds on this machine.

Stock: the image has no agent, which is downloaded and checked. Baked: it has one, and the second stage of the program.
The seconds are this machine's and wobble; processes and requests do not. What comes before, EC2's own boot, and after,
the agent's registration, is not the boot program's. `--job-access` boots with a role for jobs.
`--against FILE` compares with the `--json` of an earlier version.
"""

import gzip
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
from typing import Any

from infra.user_data import VM, program_sha256, second_stage
from tests.simulator.buildkite import Buildkite, BuildkiteServer
from tests.simulator.vm.imds import FakeImds
from tests.simulator.vm.process import AGENT_STUB, LocalVm
from tests.vm.harness import Aws, VmHarness, download_server

ROUNDS = 5
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


def main() -> int:
    """Measure both ways; the exit status."""
    measured = []
    with _yard() as harness, download_server(AGENT_STUB.read_bytes()) as downloads:
        header = {"AGENT_DOWNLOAD_URL": downloads.origin}
        if "--job-access" in sys.argv[1:]:
            header["JOB_AWS"] = "arn:aws:iam::123456789012:role/jobs|/ci/pipelines||"
        for way in ("stock", "baked"):
            seconds = sorted(_seconds(harness, f"i-{way}{n}", way, header) for n in range(ROUNDS))
            started, requests = _counts(harness, f"i-{way}c", way, header)
            measured.append(
                Measured(
                    way=way,
                    by_program=dict(started.most_common()),
                    requests=dict(requests),
                    seconds_median=round(seconds[ROUNDS // 2], 3),
                    seconds_shortest=round(seconds[0], 3),
                )
            )
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps([asdict(row) for row in measured], indent=2) + "\n")
    else:
        sys.stdout.write(_table(measured))
        if "--against" in sys.argv[1:]:
            earlier = json.loads(Path(sys.argv[sys.argv.index("--against") + 1]).read_text())
            sys.stdout.write(_compared(measured, earlier))
    return 0


def _compared(measured: Sequence[Measured], earlier: Sequence[Mapping[str, Any]]) -> str:
    """Each way's seconds, as a part of what an earlier version took: `--json` of that one, on this machine."""
    before = {row["way"]: row for row in earlier}
    lines = [
        f"{row.way}: {row.seconds_shortest / before[row.way]['seconds_shortest']:.2f} of the earlier shortest time,"
        f" {row.seconds_median / before[row.way]['seconds_median']:.2f} of the median"
        for row in measured
    ]
    return "\n".join(lines) + "\n"


def _seconds(harness: VmHarness, instance_id: str, way: str, header: Mapping[str, str | None]) -> float:
    vm, at = _boot(harness, instance_id, way, header, {})
    vm.stop()
    return at


def _counts(
    harness: VmHarness, instance_id: str, way: str, header: Mapping[str, str | None]
) -> tuple[Counter[str], Counter[str]]:
    with tempfile.NamedTemporaryFile("r", suffix=".started") as started:
        vm, _ = _boot(harness, instance_id, way, header, {"LOCAL_VM_STARTED": started.name})
        names = Counter(started.read().split())
        effects = [line.split()[0] for line in vm.effects()]
        requests = Counter(step.partition(" ")[0] for step in harness.steps(vm) if ":" in step)
        requests["metadata"] = len([r for r in harness.imds.requests_of(instance_id) if "spot" not in r])
        requests["download"] = 2 if way == "stock" else 0
        vm.stop()
    names.update(effect for effect in effects if effect in {"systemd-run", "systemctl", "useradd"})
    return names, requests


def _boot(
    harness: VmHarness, instance_id: str, way: str, header: Mapping[str, str | None], environment: dict[str, str]
) -> tuple[LocalVm, float]:
    """A booted VM with its agent just started, and the seconds that took since its user data began."""
    job_id, token = harness.reserve("sleep 60")
    harness.fill(instance_id, job_id, token)
    files: dict[str, str | Path] = (
        {f"bin/{name}": COUNTING.format(name=name, path=path) for name, path in _programs()} if environment else {}
    )
    if way == "baked":
        packed = Path(tempfile.gettempdir()) / f"{program_sha256()}-{os.getpid()}.gz"
        packed.write_bytes(gzip.compress(second_stage().encode()))
        files[f"var/cache/agent-stack/{program_sha256()}.gz"] = packed
    began = time.monotonic()
    vm = harness.boot(
        instance_id,
        agent=AGENT_STUB if way == "baked" else None,
        header=header,
        environment=environment,
        files=files,
    )
    while not any(step == "agent-stack-agent" for step in harness.steps(vm)):
        time.sleep(0.005)
    return vm, time.monotonic() - began


def _programs() -> Iterator[tuple[str, Path]]:
    """The programs that the boot program's files name and this machine has."""
    words = set(re.findall(r"\b[a-z][a-z0-9-]+\b", "".join(path.read_text() for path in VM.rglob("*.sh"))))
    for word in sorted(words):
        path = Path("/usr/bin") / word
        shim = Path(__file__).parents[1] / "simulator" / "vm" / "shims" / word
        if path.is_file() and not shim.exists() and word not in {"bash", "env"}:
            yield word, path


def _table(measured: Sequence[Measured]) -> str:
    lines = ["        processes  requests  seconds until the agent starts (median, shortest of 5)"]
    lines += [
        f"{row.way:<8}{row.processes:>9}{sum(row.requests.values()):>10}"
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
