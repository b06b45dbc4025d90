"""Seeds of git mirrors: repositories, archives of them, and what the boot program makes of an archive."""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from infra.user_data import VM

URL = "https://git.example/acme/app.git"
NAME = "https---git-example-acme-app-git"
"""The agent's name for the mirror of that repository."""

IDENTITY = {
    **{f"GIT_{who}_NAME": "a" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "a@b" for who in ("AUTHOR", "COMMITTER")},
}
SETTINGS = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": os.defpath, "LC_ALL": "C", **IDENTITY}
PROGRAM = 'set -euo pipefail\numask 022\nsource "$1"\nshift\nunpack_seed "$@"\n'


def git(directory: Path, *arguments: str, given: bytes = b"") -> str:
    """What that command says.

    Raises:
        CalledProcessError: it fails.
    """
    done = subprocess.run(
        ["git", "-C", directory, *arguments], input=given, capture_output=True, check=True, env=SETTINGS
    )
    return done.stdout.decode().strip()


def repository(directory: Path, *, commits: int = 3) -> Path:
    """A server's repository with that many commits on main, and a tag."""
    directory.mkdir(parents=True)
    git(directory, "init", "-q", "--bare", "-b", "main")
    for number in range(commits):
        commit(directory, {f"file-{number}": f"text {number}\n" * 20})
    git(directory, "tag", "-a", "-m", "first", "v1", "main~1" if commits > 1 else "main")
    return directory


def commit(directory: Path, files: dict[str, str], *, branch: str = "main") -> str:
    """One more commit of a bare repository, with those files; its name."""
    parent = git(directory, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
    tree = git(directory, "ls-tree", branch).splitlines() if parent else []
    for name, text in files.items():
        blob = git(directory, "hash-object", "-w", "--stdin", given=text.encode())
        tree = [line for line in tree if line.partition("\t")[2] != name] + [f"100644 blob {blob}\t{name}"]
    made = git(directory, "mktree", given="".join(f"{line}\n" for line in tree).encode())
    parents = ["-p", parent] if parent else []
    new = git(directory, "commit-tree", made, *parents, "-m", "more")
    git(directory, "update-ref", f"refs/heads/{branch}", new)
    return new


def mirror(server: Path, directory: Path) -> Path:
    """A mirror of it as an agent has one: the refs packed, and one pack."""
    subprocess.run(["git", "clone", "-q", "--mirror", "--no-local", server, directory], check=True, env=SETTINGS)
    git(directory, "pack-refs", "--all")
    return directory


def archive(made: Path, *, name: str = NAME, more: Iterable[tuple[tarfile.TarInfo, bytes]] = ()) -> bytes:
    """A seed in the Elastic CI Stack's layout: one directory, named as the agent names the mirror."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(made, arcname=name)
        for info, data in more:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def unpacked(place: Path, seed: bytes | Path, *, kind: str = "tar", limit: int = 1 << 30) -> tuple[Path | None, str]:
    """The mirror that the boot program makes of a seed; None and what it says when it refuses it."""
    place.mkdir(parents=True, exist_ok=True)
    file = seed if isinstance(seed, Path) else place.parent / "seed"
    if isinstance(seed, bytes):
        file.write_bytes(seed)
    done = subprocess.run(
        ["bash", "-c", PROGRAM, "bash", VM / "seed.sh", place, NAME, URL, file, kind, str(limit)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath, "LC_ALL": "C"},
    )
    made = place / NAME
    assert (done.returncode == 0) == made.exists(), done.stdout + done.stderr
    return (made if made.exists() else None), (done.stdout + done.stderr).strip()
