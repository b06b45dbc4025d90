"""What deploys, tried: built twice and compared, then run end to end in Lambda's runtime client with nothing beside it.

Lambda's own artefact is for arm64 and Python 3.13. What runs here is its twin for this machine, by the same Makefile
with other variables. Exit 1 when two builds differ, a job goes wrong, or a function outgrows the template's memory.
"""

import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.artefact import Built, build
from tests.artefact.runtime import lay_out
from tests.artefact.shares import ColdStart, cold_start
from tests.simulator.buildkite import Step
from tests.simulator.demo.judgement import problems, settled, unsettled
from tests.simulator.demo.pipeline import Demo
from tests.simulator.deployment import translated_template
from tests.simulator.lambda_host import Completed
from tests.simulator.world import Plan, World
from tests.unit.values import an_environment

PATIENCE_SECONDS = 45.0


def main() -> int:
    """Build, compare, run and print; the exit status."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="agent-stack-artefact-") as name:
        directory = Path(name)
        found = _built_twice(directory)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        twin = build(directory / "here", python_version=version, architecture="native")
        _say(f"its twin for this machine, Python {version}: {_size(twin)}")
        cold = cold_start(twin.directory, {**an_environment(), "AWS_REGION": "eu-central-1"})
        found += [f"comes from outside the artefact: {file}" for file in cold.strangers]
        _print_cold_start(cold)
        found += _job(twin.directory, lay_out(directory / "runtime"))
    for problem in found:
        _say(f"FAIL  {problem}")
    _say(f"{'FAIL' if found else 'PASS'}, {time.monotonic() - began:.0f} s")
    return 1 if found else 0


def _built_twice(directory: Path) -> list[str]:
    """In two directories, and by two installers where there are two."""
    installers = ("any", "pip" if shutil.which("uv") else "any")
    one, other = (build(directory / f"build-{n}", installer=name) for n, name in enumerate(installers))
    _say(f"for Lambda: {_size(one)}, sha256 {one.sha256}")
    found = [] if one.sha256 == other.sha256 else [f"built again, by {installers[1]}, it is {other.sha256}"]
    return found + _of_another_platform(one)


def _of_another_platform(built: Built) -> list[str]:
    """Machine code that the template's runtime could not load."""
    properties = translated_template(region="eu-central-1")["Resources"]["DispatcherFunction"]["Properties"]
    version = properties["Runtime"].removeprefix("python").replace(".", "")
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[properties["Architectures"][0]]
    wanted = f".cpython-{version}-{machine}-linux-gnu.so"
    libraries = [path.name for path in built.directory.rglob("*.so*")]
    found = [f"{name} is not for the template's {wanted}" for name in libraries if not name.endswith(wanted)]
    return found or ([] if libraries else ["there is no machine code in it, where pydantic has some"])


def _job(functions: Path, runtime: Path) -> list[str]:
    """One job from its scheduling to the end of its VM; what is wrong."""
    reports: dict[str, list[Completed]] = defaultdict(list)
    plan = Plan(functions=functions, runtime=runtime)
    world = World(plan, on_completed=lambda function, completed: reports[function].append(completed))
    with world:
        memory = world.deployed.memory_sizes
        world.start()
        build_ = world.buildkite.create_build("artefact", steps=[Step(label="Runs", command="true")])
        retry_until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < retry_until and not (settled(world) and set(reports) == set(memory)):
            time.sleep(0.2)
        found = [*unsettled(world), *problems(world, {job_id: Demo() for job_id in build_.job_ids})]
        ended = {function: tuple(reports[function]) for function in memory}  # the end of the world cuts others off
    found += [f"still running: {process}" for process in world.processes_left()]
    for function, completed in ended.items():
        found += [f"{function}: {report.error}" for report in completed if report.error]
        found += [] if completed else [f"{function}: no invocation ended"]
        _print_function(function, completed, memory)
    return found


def _print_cold_start(cold: ColdStart) -> None:
    imports = cold.steps["import"]
    shares = sorted(cold.shares.items(), key=lambda item: -item[1])
    _say(f"cold start, CPU here: {imports * 1e3:.0f} ms of imports")
    for group, share in shares:
        _say(f"  {share:4.0%}  {share * imports * 1e3:4.0f} ms  {group}")
    peaks = {name: "" if peak is None else f", {peak:.0f} MiB at its peak" for name, peak in cold.peaks.items()}
    _say(f"  settings {cold.steps['settings'] * 1e3:.0f} ms; imports alone{peaks['import']}")
    for client in ("dynamodb", "ssm", "ec2"):
        _say(f"  model and client of {client} {cold.steps[client] * 1e3:.0f} ms{peaks[client]}")


def _print_function(function: str, reports: Sequence[Completed], memory: Mapping[str, int]) -> None:
    inits = [report.init_seconds for report in reports if report.init_seconds is not None]
    peaks = [report.peak_mib for report in reports if report.peak_mib is not None]
    init = f"init {max(inits) * 1e3:.0f} ms" if inits else "init not seen"
    peak = f"{max(peaks):.0f} of {memory[function]} MiB" if peaks else "memory not told by this machine"
    _say(f"{function}: {init}, {peak}; invocations: {len(reports)}")


def _size(built: Built) -> str:
    bytecode = "with" if built.bytecode else "without"
    return f"{built.archive_bytes / 1e6:.1f} MB, unpacked {built.unpacked_bytes / 1e6:.1f} MB, {bytecode} bytecode"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
