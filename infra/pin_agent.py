"""`scripts/pin-agent`: writes the digests of a released agent into infra/vm/data/agent_digests.

It downloads the agent for each type of machine and computes its digest, and writes nothing unless the checksum that the
vendor publishes beside it says the same. Run it where you trust the network: VMs trust what it wrote.
"""

import argparse
import hashlib
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from infra.user_data import TEMPLATE, VM

DIGESTS = VM / "data" / "agent_digests"
RELEASES = "https://download.buildkite.com/agent/stable"
MACHINES = ("amd64", "arm64")
SECONDS = 120
_SAFE = re.compile(r"https://|http://127\.0\.0\.1:")


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
    return [
        f"{version} {machine} {_digest(f'{releases}/{version}/buildkite-agent-linux-{machine}')}"
        for machine in MACHINES
    ]


def written(lines: str, added: Sequence[str]) -> str:
    """The file with these lines, each in the place of one for the same version and machine."""
    replaced = {line.rpartition(" ")[0] for line in added}
    kept = [line for line in lines.splitlines() if line.startswith("#") or line.rpartition(" ")[0] not in replaced]
    comments = [line for line in kept if line.startswith("#")]
    return "\n".join([*comments, *sorted([*(line for line in kept if not line.startswith("#")), *added])]) + "\n"


def _digest(url: str) -> str:
    actual = hashlib.sha256(_get(url)).hexdigest()
    published = _get(f"{url}.sha256").decode(errors="replace").split()[:1]
    if published != [actual]:
        raise PinError(
            f"{url} has the digest {actual}, and {' '.join(published) or 'nothing'} is published. Ask the vendor"
        )
    return actual


def _get(url: str) -> bytes:
    if not _SAFE.match(url):
        raise PinError(f"{url} is not https. Name releases by an https URL")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310  (https, as checked)
            return bytes(answer.read())
    except (urllib.error.URLError, OSError) as error:
        raise PinError(f"{url} cannot be had: {error}. Check the version and the network") from error


def main(arguments: Sequence[str] | None = None, path: Path = DIGESTS) -> int:
    """Write them; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/pin-agent", description=__doc__)
    parser.add_argument("version", nargs="?", help="of the agent; the template's default when not given")
    parser.add_argument("--releases", default=RELEASES, help="where agents are published; %(default)s when not given")
    parsed = parser.parse_args(arguments)
    try:
        added = digests(parsed.version or default_version(), parsed.releases)
    except PinError as error:
        sys.stderr.write(f"Nothing written: {error}\n")
        return 1
    path.write_text(written(path.read_text(), added))
    sys.stdout.write("".join(f"{line}\n" for line in added) + "Now run scripts/generate.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
