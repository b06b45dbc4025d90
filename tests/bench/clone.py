"""A clone of a generated repository, cold and with a seed: seconds, CPU seconds and bytes of each part, over a real git
server on this machine behind two simulated bandwidths. Options: --megabytes=200, --git=20, --bucket=100 (MB a second),
--quick, --json.

The bandwidths are guesses, and inputs: measure yours. Seconds are of this machine, whose CPU git and tar use.
"""

import http.server
import json
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.vm.seeds import NAME, SETTINGS, archive, git, mirror, unpacked

MEGABYTES, GIT, BUCKET = 200, 20.0, 100.0
"""Of the repository; of the git server and of the bucket, a second: guesses."""

QUICK = 4
MEGA = 1_000_000
FILES_A_COMMIT, FILE_BYTES = 10, 20_000
NEWER = 5
"""Commits that came after the seed."""

MOST_OF_THE_SERVER = 0.25
"""Bar: a clone with a seed gets at most such a share of the bytes from the git server. Most of it is what is newer."""

CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a way to a checkout, as it was measured."""

    way: str
    part: str
    seconds: float
    cpu: float
    server_bytes: int
    bucket_bytes: int


class Pipe:
    """A port that leads to another one at so many bytes a second, and counts what comes back."""

    def __init__(self, port: int, bytes_a_second: float) -> None:
        self.bytes = 0
        self._to = port
        self._pace = bytes_a_second
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            asks = threading.Thread(target=self._pump, args=(client, server), kwargs={"back": False}, daemon=True)
            asks.start()
            self._pump(server, client, back=True)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            asks.join()

    def _pump(self, source: socket.socket, target: socket.socket, *, back: bool) -> None:
        began, sent = time.monotonic(), 0
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if back:
                    self.bytes += len(data)
                    sent += len(data)
                    time.sleep(max(0.0, began + sent / self._pace - time.monotonic()))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
        """Nothing."""


def generate(directory: Path, *, megabytes: float, seed: int = 1) -> None:
    """Commits with files that nothing compresses, on main, until there are so many megabytes more."""
    source = random.Random(seed)
    directory.mkdir(exist_ok=True)
    if not (directory / "HEAD").exists():
        git(directory, "init", "-q", "--bare", "-b", "main")
    begun = bool(git(directory, "for-each-ref", "refs/heads/main"))
    with subprocess.Popen(
        ["git", "-C", directory, "fast-import", "--quiet", "--force"], stdin=subprocess.PIPE, env=SETTINGS
    ) as process:
        assert process.stdin is not None
        write = process.stdin.write
        for number in range(max(1, round(megabytes * MEGA / FILES_A_COMMIT / FILE_BYTES))):
            write(b"commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 2\nm\n" % (1_700_000_000 + number))
            if begun and not number:
                write(b"from refs/heads/main^0\n")
            for _ in range(FILES_A_COMMIT):
                write(b"M 100644 inline d%d/f%d\n" % (source.randrange(200), source.randrange(50)))
                write(b"data %d\n%s\n" % (FILE_BYTES, source.randbytes(FILE_BYTES)))


@contextmanager
def git_server(directory: Path) -> Iterator[int]:
    """A real one, of all that is in that directory; its port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = ["git", "daemon", f"--base-path={directory}", "--export-all", "--listen=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(command, env=SETTINGS, stderr=subprocess.DEVNULL, process_group=0) as process:
        try:
            for _ in range(100):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


@contextmanager
def file_server(directory: Path) -> Iterator[int]:
    """What stands for a bucket; its port."""
    handler = partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_port
        server.shutdown()


def cpu_seconds() -> float:
    """Of all programs that this process started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(place: Path, *, megabytes: float, git_rate: float, bucket_rate: float) -> list[Part]:
    """Every part of a cold, a shallow and a warm clone; rates in MB a second."""
    generate(place / "app", megabytes=megabytes)
    (place / "bucket").mkdir()
    (place / "bucket" / "seed.tar").write_bytes(archive(mirror(place / "app", place / "made")))
    generate(place / "app", megabytes=NEWER * FILES_A_COMMIT * FILE_BYTES / MEGA, seed=2)
    parts: list[Part] = []
    with git_server(place) as git_port, file_server(place / "bucket") as file_port:
        server, bucket = Pipe(git_port, git_rate * MEGA), Pipe(file_port, bucket_rate * MEGA)
        url = f"git://127.0.0.1:{server.port}/app"

        def timed(way: str, part: str, do: Callable[[], object]) -> None:
            before, began, cpu = (server.bytes, bucket.bytes), time.monotonic(), cpu_seconds()
            do()
            parts.append(
                Part(
                    way=way,
                    part=part,
                    seconds=time.monotonic() - began,
                    cpu=cpu_seconds() - cpu,
                    server_bytes=server.bytes - before[0],
                    bucket_bytes=bucket.bytes - before[1],
                )
            )

        def clone(name: str, *flags: str) -> None:
            command = ["git", "clone", "-q", *flags, url, str(place / name)]
            subprocess.run(command, check=True, env=SETTINGS)

        def fetch() -> None:
            seed = f"http://127.0.0.1:{bucket.port}/seed.tar"
            subprocess.run(["curl", "-sS", "-o", place / "fetched.tar", seed], check=True)

        def unpack() -> None:
            made, said = unpacked(place / "mirrors", place / "fetched.tar")
            assert made is not None, said

        timed("cold", "clone", lambda: clone("cold"))
        timed("shallow", "clone", lambda: clone("shallow", "--depth=1"))
        timed("seed", "fetch", fetch)
        timed("seed", "unpack", unpack)
        timed("seed", "clone", lambda: clone("warm", "--reference", str(place / "mirrors" / NAME)))
        server.close()
        bucket.close()
    assert git(place / "warm", "rev-parse", "HEAD") == git(place / "cold", "rev-parse", "HEAD")
    return parts


def total(parts: list[Part], way: str) -> Part:
    """All parts of that way together."""
    mine = [part for part in parts if part.way == way]
    return Part(
        way=way,
        part="all",
        seconds=sum(part.seconds for part in mine),
        cpu=sum(part.cpu for part in mine),
        server_bytes=sum(part.server_bytes for part in mine),
        bucket_bytes=sum(part.bucket_bytes for part in mine),
    )


def options(arguments: list[str]) -> dict[str, float]:
    """What the command line sets.

    Raises:
        SystemExit: something in it is no option.
    """
    found = {"megabytes": float(MEGABYTES), "git": GIT, "bucket": BUCKET}
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        if argument == "--quick":
            found["megabytes"] = QUICK
        elif name in found:
            found[name] = float(value)
        elif argument != "--json":
            raise SystemExit(f"{argument} is no option: --megabytes=200, --git=20, --bucket=100, --quick, --json")
    return found


def main() -> int:
    """Print the table; the exit status."""
    asked = options(sys.argv[1:])
    place = Path(tempfile.mkdtemp(prefix="bench-clone-"))
    try:
        parts = measure(place, megabytes=asked["megabytes"], git_rate=asked["git"], bucket_rate=asked["bucket"])
    finally:
        shutil.rmtree(place, ignore_errors=True)
    cold, warm = total(parts, "cold"), total(parts, "seed")
    holds = warm.server_bytes <= MOST_OF_THE_SERVER * cold.server_bytes
    if "--json" in sys.argv:
        print(json.dumps([asdict(part) for part in parts]))
        return 0 if holds else 1
    print(f"A repository of {asked['megabytes']:g} MB; {NEWER} commits of {FILES_A_COMMIT} files came after its seed.")
    print(f"Guessed: {asked['git']:g} MB/s from the git server, {asked['bucket']:g} MB/s from the bucket.")
    print("Seconds are of this machine. CPU is that of the programs that ran here, without the git server.\n")
    print(f"{'way':8} {'part':7} {'seconds':>8} {'CPU':>7} {'MB of the server':>17} {'MB of the bucket':>17}")
    for part in [*parts, warm]:
        row = f"{part.seconds:8.1f} {part.cpu:7.1f} {part.server_bytes / MEGA:17.2f} {part.bucket_bytes / MEGA:17.2f}"
        print(f"{part.way:8} {part.part:7} {row}")
    left = f"the seed leaves {warm.server_bytes / cold.server_bytes:.1%} of the bytes to the server"
    print(f"\n{'PASS' if holds else 'FAIL'}: {left}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
