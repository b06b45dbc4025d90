"""The boot program's second stage in baked images: components of the image, generated into infra/image.yaml.

A VM of such an image finds it by its hash and asks nobody. An image that was baked with another version of the stack
has another one; its VMs do not find theirs and read it from the table. Image Builder takes 16,000 characters of a
component, so the program comes in two halves.
"""

import base64
import gzip
import hashlib
import json
import re
import textwrap
import zlib

from infra.user_data import ROOT, second_stage

IMAGE = ROOT / "infra" / "image.yaml"
BEGIN = "  # program: begin (generated from infra/vm by scripts/generate)\n"
END = "  # program: end\n"
DIRECTORY = "/var/cache/agent-stack"  # systemd's CacheDirectory of the boot unit
AGENT = "/usr/local/bin/buildkite-agent"
MAX_DATA_CHARACTERS = 16_000  # source: Image Builder's CreateComponent
_NAME = re.compile(r"(\$\{Name\}-(?:program-(?:rest-)?)?)[0-9a-f]{12}\b")
NAMES = {"Program": "program", "ProgramRest": "program-rest"}
"""The components by their logical ids, in the order of the recipe: what their names hold."""


def generated(template: str, program: str | None = None) -> str:
    """infra/image.yaml with its component written anew; a packed program that says the same is kept.

    Args:
        program: this stack's second stage when not given.

    Raises:
        ValueError: it lost its marks, or the component would be too long.
    """
    before, begin, rest = template.partition(BEGIN)
    current, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{IMAGE.name} has lost the lines {BEGIN.strip()!r} and {END.strip()!r}")
    program = second_stage() if program is None else program
    sha256 = hashlib.sha256(program.encode()).hexdigest()
    packed = "".join(re.findall(r"[A-Za-z0-9+/=]{200,}", current))
    if not packed or _unpacked(packed) != program:
        packed = base64.b64encode(gzip.compress(program.encode(), mtime=0)).decode()
    pieces = zip(NAMES.items(), commands(packed, sha256), strict=True)
    data = {names: _data(*names, commands_) for names, commands_ in pieces}
    longest = max(map(len, data.values()))
    if longest > MAX_DATA_CHARACTERS:
        raise ValueError(
            f"a component's Data would have {longest:,} characters; Image Builder takes {MAX_DATA_CHARACTERS:,}. "
            "Remove a version from infra/vm/data/agent_digests, or shorten what infra/vm/job.sh sources"
        )
    components = "\n".join(_component(*names, text, sha256) for names, text in data.items())
    whole = f"{before}{begin}{components}{end}{after}"
    return _NAME.sub(lambda found: f"{found[1]}{sha256[:12]}", whole)


def _unpacked(packed: str) -> str:
    """What it says, or nothing where it is damaged."""
    try:
        return gzip.decompress(base64.b64decode(packed)).decode()
    except (ValueError, OSError, EOFError, zlib.error):
        return ""


def commands(packed: str, sha256: str) -> tuple[list[str], list[str]]:
    """What the image's builder runs for each component, after the agent is there and before anything starts it.

    An agent whose digest the program knows must have it; ${AgentVersion} is the template's.
    """
    file = f"{DIRECTORY}/{sha256}.gz"
    machine = "$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/')"
    known = f'sed -n "s/^${{AgentVersion}} {machine} //p"'
    half = (len(packed) // 2 + 3) // 4 * 4  # each half is base64 of its own
    return (
        [f"install -d -m 0755 {DIRECTORY}", f"echo {packed[:half]} | base64 -d >{file}.half"],
        [
            f"echo {packed[half:]} | base64 -d >>{file}.half",
            f"mv {file}.half {file}",
            f'known=$(gzip -dc {file} | {known}); [ -z "$known" ] || echo "$known  {AGENT}" | sha256sum --check',
        ],
    )


def _data(logical_id: str, name: str, commands_: list[str]) -> str:
    """What Image Builder gets: its limit is of this, without the template's indentation."""
    lines = "\n".join(f"            - {json.dumps(command)}" for command in commands_)
    return f"""\
name: {name}
schemaVersion: 1.0
phases:
  - name: build
    steps:
      - name: {logical_id}
        action: ExecuteBash
        inputs:
          commands:
{lines}
"""


def _component(logical_id: str, name: str, data: str, sha256: str) -> str:
    substituted = "!Sub |" if "${" in data else "|"
    return f"""\
  {logical_id}:
    Type: AWS::ImageBuilder::Component
    Properties:
      Name: !Sub ${{Name}}-{name}-{sha256[:12]}-${{Settings.LatestVersionNumber}}
      Version: !Select [0, !Split ["-", !Ref AgentVersion]]
      Platform: Linux
      Data: {substituted}
{textwrap.indent(data, " " * 8)}"""
