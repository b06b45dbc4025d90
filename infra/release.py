"""Builds what a release has: the functions, a template that names them, the operator's command as a wheel, its notes.

The template's archive is for people without a checkout: `aws cloudformation package` uploads the functions and the
nested templates that lie in it, with no other tool.
"""

import argparse
import hashlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from agent_stack.wiring.deployment import VERSION
from infra.artefact import EPOCH, ROOT, BuildFailedError, build
from infra.pin_agent import DIGESTS, MACHINES, default_version

FUNCTIONS = "functions.zip"
"""What the released template calls the functions' archive, which lies beside it."""
_FUNCTION = re.compile(
    r"(^ +Type: AWS::Serverless::Function\n(?:^ {4}(?!Properties).*\n)*?^ {4}Properties:\n)", re.MULTILINE
)


class ReleaseError(Exception):
    """What must be put right before there can be a release."""


def version(tag: str | None = None, *, changelog: str | None = None) -> str:
    """The version of pyproject.toml.

    Raises:
        ReleaseError: the code, the changelog or the tag has another version.
    """
    found = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    if found != VERSION:
        raise ReleaseError(
            f"pyproject.toml has version {found}, wiring/deployment.py has {VERSION}: make them the same"
        )
    if tag is not None and tag != f"v{found}":
        raise ReleaseError(f"the tag is {tag}, the version is {found}: tag v{found}, or change the version")
    notes(found, changelog=changelog)
    return found


def notes(of: str, *, changelog: str | None = None) -> str:
    """The changelog's section of that version.

    Raises:
        ReleaseError: it has none.
    """
    text = changelog if changelog is not None else (ROOT / "CHANGELOG.md").read_text()
    section = re.search(rf"^## {re.escape(of)}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ReleaseError(f"CHANGELOG.md has no section “## {of}”: write what users notice of it")
    return section[1].strip() + "\n"


def template() -> str:
    """template.yaml, whose functions name the archive beside it one by one: `package` does not read Globals.

    Raises:
        ReleaseError: template.yaml is not as this expects.
    """
    text = (ROOT / "template.yaml").read_text()
    named, globally = re.subn(r"^ +CodeUri: functions/\n", "", text, flags=re.MULTILINE)
    named, functions = _FUNCTION.subn(rf"\1      CodeUri: {FUNCTIONS}\n", named)
    if globally != 1 or functions != text.count("Type: AWS::Serverless::Function\n"):
        raise ReleaseError("template.yaml names its code in another way than infra/release.py expects")
    return named


def pinned(known: str | None = None, *, default: str | None = None) -> None:
    """Whether the agent that VMs install by default has its digests in this release.

    Args:
        known: the text of `infra/vm/data/agent_digests`, which `scripts/pin-agent` writes.
        default: the version that the template installs where nothing else is said.

    Raises:
        ReleaseError: one is missing, so that a VM would trust whatever checksum a mirror publishes.
    """
    version = default or default_version()
    lines = (known if known is not None else DIGESTS.read_text()).splitlines()
    has = {tuple(line.split()[:2]) for line in lines if not line.startswith("#")}
    missing = [machine for machine in MACHINES if (version, machine) not in has]
    if missing:
        raise ReleaseError(
            f"the default agent {version} has no digest for {' and '.join(missing)} in {DIGESTS.relative_to(ROOT)}: "
            "run scripts/pin-agent and scripts/generate where the vendor can be reached"
        )


def make(directory: Path, *, functions: Path, tag: str | None = None) -> list[Path]:
    """Write every file of the release into that directory.

    Args:
        functions: the archive that `scripts/build` made.

    Raises:
        ReleaseError: something must be put right first.
    """
    of = version(tag)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    artefact = directory / f"agent-stack-ec2-{of}-functions.zip"
    shutil.copyfile(functions, artefact)
    bundle = directory / f"agent-stack-ec2-{of}-template.zip"
    _bundle(bundle, functions)
    wheel = _wheel(directory)
    sums = directory / "SHA256SUMS"
    files = [artefact, bundle, wheel]
    sums.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))
    return [*files, sums]


def _bundle(path: Path, functions: Path) -> None:
    text = template()
    members = {"template.yaml": text.encode(), FUNCTIONS: functions.read_bytes()}
    for nested in re.findall(r"^ +TemplateURL: (\S+)$", text, re.MULTILINE):
        members[nested] = (ROOT / nested).read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, content)


def _wheel(directory: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory.resolve())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ReleaseError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    (wheel,) = directory.glob("*.whl")
    return wheel


def publish(tag: str, files: list[Path], text: Path, *, dry: bool) -> int:
    """Make GitHub's release of that tag with these files; the exit status."""
    command = [
        "gh",
        "release",
        "create",
        tag,
        *map(str, files),
        "--title",
        tag,
        "--notes-file",
        str(text),
        "--verify-tag",
    ]
    sys.stdout.write(f"+ {shlex.join(command)}\n")
    if dry:
        return 0
    if shutil.which(command[0]) is None:
        raise ReleaseError("gh was not found: install GitHub's command, or attach the files by hand")
    return subprocess.run(command, check=False).returncode  # noqa: S603


def main() -> int:
    """Build the release, and publish it when told to; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/release", description=__doc__)
    parser.add_argument("--directory", type=Path, default=ROOT / "build" / "release", help="where the files go")
    parser.add_argument("--tag", help="fail unless this is v and the version")
    parser.add_argument("--publish", action="store_true", help="make GitHub's release of the tag, with gh")
    parser.add_argument("--dry-run", action="store_true", help="with --publish, only print gh's command")
    arguments = parser.parse_args()
    try:
        tag = f"v{version(arguments.tag)}"
        if arguments.publish and not arguments.dry_run:
            pinned()
        built = build(arguments.directory.parent)
        files = make(arguments.directory, functions=built.archive, tag=tag)
        for file in files:
            sys.stdout.write(f"{file}\n")
        if not arguments.publish:
            return 0
        text = arguments.directory / "notes.md"
        text.write_text(notes(tag.removeprefix("v")))
        return publish(tag, files, text, dry=arguments.dry_run)
    except (ReleaseError, BuildFailedError) as error:
        sys.stderr.write(f"Not released: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
