"""Fills a directory with what runs on Lambda; the same files each time. Run by the Makefile; itself it does not ship.

Knows the standard library only, for it runs under whatever Python builds (3.11 or later, as it reads our code; older
ones are told so): `sam build` copies this directory to a place of its own and calls make there. Packages come from uv
or pip, whichever is there, held to the hashes of requirements.txt; what installers leave behind that differs from one
machine to the next is taken out.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = ("agent_stack", "handlers")
TASK_ROOT = "/var/task"  # where Lambda unpacks it: the paths in tracebacks
MOMENT = 315_532_800  # 1980-01-01, the oldest that a zip can say

LEFT_BY_INSTALLERS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
"""What differs between installers and machines. METADATA stays: scanners read names and versions from it."""

NEVER_READ = ("bin", "boto3/data", "boto3/examples", ".lock")
"""Command lines, boto3's resources (we use clients), and uv's own lock."""


def main() -> int:
    """Build; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--python-version", default="3.13")
    parser.add_argument("--architecture", default="aarch64", help="aarch64, x86_64, or native: this machine's")
    parser.add_argument("--installer", default="any", choices=("any", "uv", "pip"))
    arguments = parser.parse_args()
    directory: Path = arguments.directory.resolve()
    try:
        check_python()
        directory.mkdir(parents=True, exist_ok=True)
        install(directory, arguments.installer, arguments.python_version, arguments.architecture)
        for package in OURS:
            shutil.copytree(HERE / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
        tidy(directory)
        keep_models(directory / "botocore" / "data", services_used(directory))
        say(compiled(directory, arguments.python_version))
        settle(directory)
    except (UnbuildableError, subprocess.CalledProcessError) as error:
        say(f"not built: {error}")
        return 1
    return 0


class UnbuildableError(Exception):
    """Says what is missing, and what to do."""


def say(text: str) -> None:
    """To whoever runs the build; `sam build` shows what comes on standard error."""
    sys.stderr.write(f"artefact: {text}\n")


def check_python() -> None:
    """Of what runs this.

    Raises:
        UnbuildableError: it is too old.
    """
    if sys.version_info < (3, 11):  # noqa: UP036  (whoever builds may have an older one)
        is_ = f"Python {sys.version.split()[0]} ({sys.executable})"
        raise UnbuildableError(f"{is_} is too old to build it. Let python3 be 3.11 or later")


def install(directory: Path, installer: str, version: str, architecture: str) -> None:
    """The packages, for the target and not for the Python that runs this."""
    requirements = ["--only-binary", ":all:", "--require-hashes", "--no-deps"]  # the lock names all there is to have
    requirements += ["--target", str(directory), "-r", "requirements.txt"]
    if installer in ("any", "uv") and (uv := shutil.which("uv")):
        command = [uv, "pip", "install", "--quiet", "--no-config", "--link-mode", "copy", "--python-version", version]
        if architecture != "native":  # copied, for a link would let us write into uv's own store
            command += ["--python-platform", f"{architecture}-manylinux_2_28"]
    elif installer in ("any", "pip") and _works([sys.executable, "-m", "pip", "--version"]):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--implementation", "cp", "--python-version", version, "--ignore-requires-python"]  # of pip's own
        if architecture != "native":
            for platform in ("manylinux_2_28", "manylinux_2_17", "manylinux2014"):
                command += ["--platform", f"{platform}_{architecture}"]
    else:
        raise UnbuildableError(
            f"neither uv nor pip was found (looked for uv on PATH, and for pip in {sys.executable}). "
            "Install one of them, for example: python3 -m pip install uv"
        )
    subprocess.run([*command, *requirements], check=True, cwd=HERE)  # noqa: S603  (both are what the user has)


def services_used(directory: Path) -> set[str]:
    """The AWS services of which the code makes clients: each is named where its client is made.

    Raises:
        UnbuildableError: one is not named by a literal, so that nobody can tell whose model must stay.
    """
    found = set()
    for path in sorted(path for package in OURS for path in (directory / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            if node.func.attr not in ("client", "create_client", "resource"):
                continue
            service = node.args[0]
            if not (isinstance(service, ast.Constant) and isinstance(service.value, str)):
                place = f"{path.relative_to(directory)}:{node.lineno}"
                raise UnbuildableError(f"{place} makes a client of a service that it does not name; name it there")
            found.add(service.value)
    if not found:
        raise UnbuildableError("the code makes no client of any service, as far as can be seen; that cannot be right")
    return found


def keep_models(data: Path, services: set[str]) -> None:
    """Leave botocore the models of these services only, the latest of each, and without their documentation.

    Raises:
        UnbuildableError: botocore has no model of a service.
    """
    if missing := sorted(services - {path.name for path in data.iterdir()}):
        raise UnbuildableError(
            f"botocore knows no service named {', '.join(missing)}; correct the name where its client is made"
        )
    for path in data.iterdir():
        if path.is_dir() and path.name not in services:
            shutil.rmtree(path)
    for service in services:
        *older, latest = sorted(path for path in (data / service).iterdir() if path.is_dir())
        for path in older:
            shutil.rmtree(path)
        model = latest / "service-2.json.gz"
        lean = json.dumps(_undocumented(json.loads(gzip.decompress(model.read_bytes()))), separators=(",", ":"))
        model.write_bytes(gzip.compress(lean.encode(), mtime=0))
        (latest / "examples-1.json").unlink(missing_ok=True)


def tidy(directory: Path) -> None:
    """Take out what nothing reads and what is not the same twice."""
    for name in NEVER_READ:
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in directory.glob("*.dist-info"):
        for name in LEFT_BY_INSTALLERS:
            (path / name).unlink(missing_ok=True)
    for path in sorted(directory.rglob("__pycache__")):
        shutil.rmtree(path)


def compiled(directory: Path, version: str) -> str:
    """Add bytecode where the target's Python is at hand; says what was done.

    Lambda's copy of the code cannot be written to: without bytecode every cold start compiles all that it imports. It
    is never checked against its source, so it holds no time, and another Python passes it over.
    """
    python = _python(version)
    if python is None:
        return f"no bytecode, because there is no Python {version} here: cold starts take half a CPU second longer"
    command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(directory), "-p", TASK_ROOT, str(directory)]
    beside = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}  # not elsewhere
    subprocess.run(command, check=True, env={**beside, "PYTHONHASHSEED": "0"})  # noqa: S603
    return f"bytecode by {python}"


def settle(directory: Path) -> None:
    """One time and one mode for all, so that every archive of it is the same."""
    for path in [*directory.rglob("*"), directory]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (MOMENT, MOMENT))


def _undocumented(node: object) -> object:
    if isinstance(node, dict):
        kept = {k: v for k, v in node.items() if not (k == "documentation" and isinstance(v, str))}
        return {name: _undocumented(value) for name, value in kept.items()}
    return [_undocumented(value) for value in node] if isinstance(node, list) else node


def _python(version: str) -> str | None:
    """A Python of that version on this machine, if there is one."""
    wanted = ["-c", f"import sys; '%d.%d' % sys.version_info[:2] == '{version}' and print(sys.executable)"]
    environment = {**os.environ, "PYENV_VERSION": version}  # pyenv hides what it has until it is asked by number
    commands = [[sys.executable, *wanted], [f"python{version}", *wanted]]
    commands.append(["uv", "python", "find", "--no-python-downloads", "--no-project", version])
    for command in commands:
        if shutil.which(command[0]):
            asked = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603
            if asked.returncode == 0 and asked.stdout.strip():
                return asked.stdout.strip()
    return None


def _works(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
