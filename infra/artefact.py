"""Builds what `sam build` builds, by the same Makefile, and packs it: the same bytes from the same source.

Beside the archive's hash stands one of its files without bytecode, which machines without the target's Python get, too.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCH = (1980, 1, 1, 0, 0, 0)


class BuildFailedError(Exception):
    """What the build said has been shown already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An artefact.

    Attributes:
        sha256: of the archive.
        sources_sha256: of names and contents of all its files but bytecode.
        bytecode: whether it holds any.
    """

    directory: Path
    archive: Path
    sha256: str
    sources_sha256: str
    archive_bytes: int
    unpacked_bytes: int
    bytecode: bool


def build(
    directory: Path, *, python_version: str = "3.13", architecture: str = "aarch64", installer: str = "any"
) -> Built:
    """Build anew into `directory`/artefact and `directory`/artefact.zip.

    Args:
        python_version, architecture: whose packages; the defaults are Lambda's. `native` is this machine's.
        installer: uv, pip, or whichever is there.

    Raises:
        BuildFailedError: the build said why.
    """
    target = directory.resolve() / "artefact"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    variables = {
        "ARTIFACTS_DIR": str(target),
        "PYTHON": sys.executable,
        "PYTHON_VERSION": python_version,
        "ARCHITECTURE": architecture,
        "INSTALLER": installer,
    }
    command = ["make", "--silent", "-C", str(ROOT / "functions"), "build-DispatcherFunction"]
    made = subprocess.run([*command, *(f"{name}={value}" for name, value in variables.items())], check=False)  # noqa: S603
    if made.returncode:
        raise BuildFailedError(f"{' '.join(command)} ended with exit status {made.returncode}")
    files = sorted(path for path in target.rglob("*") if path.is_file())
    archive = target.with_suffix(".zip")
    _pack(archive, target, files)
    sources = [path for path in files if path.suffix != ".pyc"]
    return Built(
        directory=target,
        archive=archive,
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        sources_sha256=_hash(target, sources),
        archive_bytes=archive.stat().st_size,
        unpacked_bytes=sum(path.stat().st_size for path in files),
        bytecode=len(sources) < len(files),
    )


def _pack(archive: Path, directory: Path, files: list[Path]) -> None:
    """Sorted, at one time and with one mode, so that the archive says nothing but what is in it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), date_time=EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes(), compresslevel=9)


def _hash(directory: Path, files: list[Path]) -> str:
    listing = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory).as_posix()}\n" for path in files
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def main() -> int:
    """Build and say what came of it; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/build", description=__doc__)
    parser.add_argument("--directory", type=Path, default=ROOT / "build", help="where artefact.zip goes")
    parser.add_argument("--python-version", default="3.13")
    parser.add_argument("--architecture", default="aarch64", help="aarch64, x86_64, or native: this machine's")
    parser.add_argument("--installer", default="any", choices=("any", "uv", "pip"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        built = build(
            arguments.directory,
            python_version=arguments.python_version,
            architecture=arguments.architecture,
            installer=arguments.installer,
        )
    except BuildFailedError as error:
        sys.stderr.write(f"{error}; see above\n")
        return 1
    say = sys.stdout.write
    if arguments.json:
        say(json.dumps(asdict(built), indent=2, default=str) + "\n")
        return 0
    say(f"{built.archive}\n")
    say(f"{built.archive_bytes / 1e6:.1f} MB, unpacked {built.unpacked_bytes / 1e6:.1f} MB")
    say(f"; {'with' if built.bytecode else 'without'} bytecode\n")
    say(f"sha256          {built.sha256}\n")
    say(f"sources sha256  {built.sources_sha256}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
