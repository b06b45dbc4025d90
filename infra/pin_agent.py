"""`scripts/pin-agent`: writes the digests of a released agent into infra/vm/data/agent_digests.

It downloads the agent for each type of machine and computes its digest, and writes nothing unless the checksum that the
vendor publishes beside it says the same. Run it where you trust the network: VMs trust what it wrote.
"""

import argparse
import hashlib
import http.client
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from infra.user_data import TEMPLATE, VM

DIGESTS = VM / "data" / "agent_digests"
RELEASES = "https://download.buildkite.com/agent/stable"
MACHINES = ("amd64", "arm64")
SECONDS = 120
KEPT_VERSIONS = 4
"""The boot program in a baked image has to fit into Image Builder's component, and a digest cannot be compressed."""
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.-]*")


class PinError(Exception):
    """Nothing was written; the message says why."""


def default_version() -> str:
    """The version that the template installs where nothing else is said."""
    found = re.search(r"^  AgentVersion:\n    Type: String\n    Default: (\S+)$", TEMPLATE.read_text(), re.MULTILINE)
    if found is None:
        raise PinError("template.yaml has no default of AgentVersion")
    return found[1]


def digests(version: str, releases: str = RELEASES) -> list[str]:
    """A line for each type of machine.

    Raises:
        PinError: an agent cannot be had, or is not what its checksum says.
    """
    if not _VERSION.fullmatch(version):
        raise PinError(f"{version!r} is no version, such as {default_version()}")
    return [
        f"{version} {machine} {_digest(f'{releases}/{version}/buildkite-agent-linux-{machine}')}"
        for machine in MACHINES
    ]


def written(lines: str, added: Sequence[str], *, default: str) -> str:
    """The file with these lines, each in the place of one for the same version and machine.

    It keeps what is added, the default version and otherwise the newest ones, `KEPT_VERSIONS` in all.
    """
    comments = [line for line in lines.splitlines() if line.startswith("#")]
    known = {line.rpartition(" ")[0]: line for line in lines.splitlines() if line and not line.startswith("#")}
    known |= {line.rpartition(" ")[0]: line for line in added}
    first = {line.partition(" ")[0] for line in added} | {default}
    versions = sorted({line.partition(" ")[0] for line in known}, key=lambda v: (v in first, _age(v)), reverse=True)
    kept = versions[:KEPT_VERSIONS]
    return "\n".join([*comments, *sorted(line for line in known.values() if line.partition(" ")[0] in kept)]) + "\n"


def _age(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Newer versions are greater, and a release is newer than its betas."""
    numbers = re.match(r"[0-9.]+", version)
    parts = tuple(int(part) for part in numbers[0].split(".") if part) if numbers else ()
    return parts, bool(re.fullmatch(r"[0-9.]+", version)), version


def _digest(url: str) -> str:
    actual = hashlib.sha256(_get(url)).hexdigest()
    published = _get(f"{url}.sha256").decode(errors="replace").split()[:1]
    if published != [actual]:
        raise PinError(
            f"{url} has the digest {actual}, and {' '.join(published) or 'nothing'} is published. Ask the vendor"
        )
    return actual


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Because whoever answers a plain request decides what VMs trust."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme != "https":
            raise PinError(f"{req.full_url} leads to {newurl}, which is not https. Name releases that stay on https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_safe(url: str) -> bool:
    """https, or plain http to this machine, where tests publish agents."""
    parts = urllib.parse.urlsplit(url)
    return "@" not in parts.netloc and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")
    )


def _get(url: str) -> bytes:
    if not _is_safe(url):
        raise PinError(f"{url} is not https to a host without a user. Name releases by an https URL")
    try:
        with urllib.request.build_opener(_OnlyHttps).open(url, timeout=SECONDS) as answer:
            return bytes(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise PinError(f"{url} cannot be had: {said}. Check the version and the network") from error


def main(arguments: Sequence[str] | None = None, path: Path = DIGESTS) -> int:
    """Write them; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/pin-agent", description=__doc__)
    parser.add_argument("version", nargs="?", help="of the agent; the template's default when not given")
    parser.add_argument("--releases", default=RELEASES, help="where agents are published; %(default)s when not given")
    parsed = parser.parse_args(arguments)
    version = parsed.version or default_version()
    elsewhere = "" if parsed.releases == RELEASES else f" --releases {parsed.releases}"
    try:
        added = digests(version, parsed.releases)
    except PinError as error:
        sys.stderr.write(f"Nothing written: {error}. Then run scripts/pin-agent {version}{elsewhere}\n")
        return 1
    path.write_text(written(path.read_text(), added, default=default_version()))
    sys.stdout.write("".join(f"{line}\n" for line in added) + "Now run scripts/generate.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
