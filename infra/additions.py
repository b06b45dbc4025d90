"""What the operator adds to a baked image, as components of infra/image.yaml: settings in base64, then the script.

The settings go through Fn::Base64 and the scripts through nothing, because bash and Fn::Sub both use ${…}.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from infra.baked_program import MAX_DATA_CHARACTERS
from infra.user_data import ROOT, without_trailing_comments

DIRECTORY = ROOT / "infra" / "image"
BEGIN = "  # additions: begin (generated from infra/image/ by scripts/generate)\n"
END = "  # additions: end\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component: Image Builder takes 16,000 characters of each.

    Attributes:
        settings: the script's variables, and the parameters of infra/image.yaml that they hold.
    """

    logical_id: str
    name: str
    file: str
    settings: Mapping[str, str]


PARTS = (
    Part(
        logical_id="Additions",
        name="additions",
        file="additions.sh",
        settings={"REPOSITORIES": "Repositories", "PACKAGES": "Packages"},
    ),
    Part(
        logical_id="Pulls",
        name="pulls",
        file="pulls.sh",
        settings={
            "IMAGES": "DockerImages",
            "LOGINS": "DockerLogins",
            "ECR_LOGIN": "EcrLogin",
            "ECR_ACCOUNTS": "EcrAccounts",
            "REGION": "AWS::Region",
        },
    ),
)
"""In the recipe's order."""

MAX_VALUES = {"Repositories": 2_000, "Packages": 1_000, "DockerImages": 2_000}
"""What template.yaml lets those parameters have, so that the component fits; a test holds them together."""

MAX_OTHERS = {"DockerLogins": 1_011, "EcrLogin": 7, "EcrAccounts": 650, "AWS::Region": 20}
"""The same for what has no MaxLength there: SSM's longest name, and fifty accounts."""

_COMMENT = re.compile(r"\s*#(?!!)")
_REVISION = re.compile(r"\$\{Name\}-agent-(\d+)-")
_SOURCE = re.compile(r'source "\$\{BASH_SOURCE%/\*\}/(\w+\.sh)"\n')
_HEAD = """\
name: {name}
schemaVersion: 1.0
phases:
  - name: build
    steps:
      - name: {logical_id}
        action: ExecuteBash
        inputs:
          commands:
            - |
"""
_INDENT = " " * 14  # of a command in the document


def script(part: Part) -> str:
    """With what it sources, and without comments, because Image Builder counts every character."""
    whole = _SOURCE.sub(lambda found: (DIRECTORY / found[1]).read_text(), (DIRECTORY / part.file).read_text())
    lines = without_trailing_comments(whole).splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() and not _COMMENT.match(line) and not line.startswith("#!"))


def generated(template: str, program: str | None = None) -> str:
    """infra/image.yaml with those components written anew.

    Args:
        program: each script when not given.

    Raises:
        ValueError: it lost its marks, or a component would be too long or not be Image Builder's.
    """
    before, begin, rest = template.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"image.yaml has lost the lines {BEGIN.strip()!r} and {END.strip()!r}")
    revision = _REVISION.search(template)
    if revision is None:
        raise ValueError("image.yaml has lost the name of its own component, ${Name}-agent- and a revision")
    components = "\n".join(_checked(part, script(part) if program is None else program, revision[1]) for part in PARTS)
    return f"{before}{begin}{components}{end}{after}"


def _checked(part: Part, program: str, revision: str) -> str:
    if "{{" in program:
        raise ValueError(f"{part.file} has two braces in a row, which Image Builder takes for a reference of its own")
    size = longest(part, program)
    if size > MAX_DATA_CHARACTERS:
        raise ValueError(
            f"a component's Data would have {size:,} characters with the longest values; Image Builder takes "
            f"{MAX_DATA_CHARACTERS:,}. Shorten {part.file}, or MAX_VALUES with MaxLength in template.yaml"
        )
    return _component(part, program, revision)


def longest(part: Part, program: str) -> int:
    """The characters of the component's document where every value is as long as it may be."""
    most = {**MAX_VALUES, **MAX_OTHERS}
    values = sum(len(f"{_INDENT}{name}=\n") + -(-most[of] // 3) * 4 for name, of in part.settings.items())
    return len(_head(part)) + values + len(textwrap.indent(program, _INDENT))


def _head(part: Part) -> str:
    return _HEAD.format(name=part.name, logical_id=part.logical_id)


def _component(part: Part, program: str, revision: str) -> str:
    """Fn::Join takes what it joins without a line end at its own end, so each part begins with the one before it."""
    parts = [f"{_text(_head(part))}"]
    for name, of in part.settings.items():
        parts += [f'"{_INDENT}{name}="', f"Fn::Base64: !Ref {of}", '"\\n"']
    parts.append(_text(textwrap.indent(program, _INDENT)))
    joined = "\n".join(f"          {'- - ' if number == 0 else '  - '}{text}" for number, text in enumerate(parts))
    return f"""\
  {part.logical_id}:
    Type: AWS::ImageBuilder::Component
    Properties:
      Name: !Sub ${{Name}}-{part.name}-{revision}-${{Settings.LatestVersionNumber}}
      Version: !Select [0, !Split ["-", !Ref AgentVersion]]
      Platform: Linux
      Data:
        Fn::Join:
          - ""
{joined}
"""


def _text(text: str) -> str:
    """As a block of YAML that keeps the text's own indentation."""
    return "|2\n" + textwrap.indent(text, " " * 14).rstrip("\n")
