"""What the operator adds to a baked image, as a component of infra/image.yaml: settings in base64, then the script.

The settings go through Fn::Base64 and the script through nothing, because bash and Fn::Sub both use ${…}.
"""

import re
import textwrap

from infra.baked_program import MAX_DATA_CHARACTERS
from infra.user_data import ROOT, without_trailing_comments

SCRIPT = ROOT / "infra" / "image" / "additions.sh"
BEGIN = "  # additions: begin (generated from infra/image/additions.sh by scripts/generate)\n"
END = "  # additions: end\n"
SETTINGS = {"REPOSITORIES": "Repositories", "PACKAGES": "Packages", "IMAGES": "DockerImages"}
"""The script's variables, and the parameters of infra/image.yaml that they hold."""

MAX_VALUES = {"Repositories": 2_000, "Packages": 1_000, "DockerImages": 2_000}
"""What template.yaml lets those parameters have, so that the component fits; a test holds them together."""

_COMMENT = re.compile(r"\s*#(?!!)")
_REVISION = re.compile(r"\$\{Name\}-agent-(\d+)-")
_HEAD = """\
name: additions
schemaVersion: 1.0
phases:
  - name: build
    steps:
      - name: Additions
        action: ExecuteBash
        inputs:
          commands:
            - |
"""
_INDENT = " " * 14  # of a command in the document


def script() -> str:
    """Without comments, because Image Builder counts every character."""
    lines = without_trailing_comments(SCRIPT.read_text()).splitlines(keepends=True)[1:]
    return "".join(line for line in lines if line.strip() and not _COMMENT.match(line))


def generated(template: str, program: str | None = None) -> str:
    """infra/image.yaml with that component written anew.

    Args:
        program: the script when not given.

    Raises:
        ValueError: it lost its marks, or the component would be too long or not be Image Builder's.
    """
    before, begin, rest = template.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"image.yaml has lost the lines {BEGIN.strip()!r} and {END.strip()!r}")
    program = script() if program is None else program
    if "{{" in program:
        raise ValueError(f"{SCRIPT.name} has two braces in a row, which Image Builder takes for a reference of its own")
    size = longest(program)
    if size > MAX_DATA_CHARACTERS:
        raise ValueError(
            f"a component's Data would have {size:,} characters with the longest values; Image Builder takes "
            f"{MAX_DATA_CHARACTERS:,}. Shorten {SCRIPT.name}, or MAX_VALUES with MaxLength in template.yaml"
        )
    revision = _REVISION.search(template)
    if revision is None:
        raise ValueError("image.yaml has lost the name of its own component, ${Name}-agent- and a revision")
    return f"{before}{begin}{_component(program, revision[1])}{end}{after}"


def longest(program: str) -> int:
    """The characters of the component's document where every value is as long as it may be."""
    values = sum(len(f"{_INDENT}{name}=\n") + -(-MAX_VALUES[of] // 3) * 4 for name, of in SETTINGS.items())
    return len(_HEAD) + values + len(textwrap.indent(program, _INDENT))


def _component(program: str, revision: str) -> str:
    """Fn::Join takes what it joins without a line end at its own end, so each part begins with the one before it."""
    parts = [f"{_text(_HEAD)}"]
    for name, of in SETTINGS.items():
        parts += [f'"{_INDENT}{name}="', f"Fn::Base64: !Ref {of}", '"\\n"']
    parts.append(_text(textwrap.indent(program, _INDENT)))
    joined = "\n".join(f"          {'- - ' if number == 0 else '  - '}{part}" for number, part in enumerate(parts))
    return f"""\
  Additions:
    Type: AWS::ImageBuilder::Component
    Properties:
      Name: !Sub ${{Name}}-additions-{revision}-${{Settings.LatestVersionNumber}}
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
