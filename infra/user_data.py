"""The launch template's user data: a header of assignments that CloudFormation fills in, and the boot program.

`python infra/user_data.py` writes it into template.yaml; with `--check` it only says whether that is needed.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
BOOT_PROGRAM = ROOT / "infra" / "vm" / "boot.sh"
BEGIN = "# user data: begin (generated from infra/vm/boot.sh by scripts/generate)"
END = "# user data: end"
MAX_BYTES = 16 * 1024  # source: EC2's limit of raw user data
ROOM_FOR_VALUES = 512  # what the header grows by when its parameters are filled in
_INDENT = " " * 12

HEADER = {
    "MAILBOX_TABLE": "MailboxTable",
    "DEPLOYMENT_REGION": "AWS::Region",
    "UNASSIGNED_TIMEOUT_SECONDS": "UnassignedTimeoutSeconds",
    "MAX_LIFETIME_SECONDS": "MaxLifetimeSeconds",
    "AGENT_VERSION": "AgentVersion",
    "AGENT_DOWNLOAD_URL": "AgentDownloadUrl",
    "AGENT_TOKEN_PARAMETER": "AgentTokenParameter",
}
"""The boot program's settings, and what of the template holds them. Their patterns need no quoting."""


def substitution(boot_program: str) -> str:
    """The text that Fn::Sub turns into the user data: only the header's variables are the template's."""
    shebang, _, program = boot_program.partition("\n")
    header = "\n".join(f"{name}={'${' + source + '}'}" for name, source in HEADER.items())
    return f"{shebang}\n{header}\n{program.replace('${', '${!')}"


def generated(template: str, boot_program: str) -> str:
    """The template with its user data written anew.

    Raises:
        ValueError: the template lost its marks, or the user data would be too long.
    """
    text = substitution(boot_program)
    size = len(text.replace("${!", "${").encode())
    if size > MAX_BYTES - ROOM_FOR_VALUES:
        raise ValueError(f"user data would have {size} bytes; EC2 takes {MAX_BYTES}, values of parameters included")
    before, begin, rest = template.partition(f"{_INDENT}{BEGIN}\n")
    _, end, after = rest.partition(f"{_INDENT}{END}\n")
    if not begin or not end:
        raise ValueError(f"template.yaml has lost the lines {BEGIN!r} and {END!r}")
    lines = [f"{_INDENT}  {line}" if line else "" for line in text.splitlines()]
    return "".join([before, begin, f"{_INDENT}Fn::Sub: |\n", "\n".join(lines), "\n", end, after])


def main() -> int:
    """Write or check; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a change is needed")
    check = parser.parse_args().check
    template = TEMPLATE.read_text()
    wanted = generated(template, BOOT_PROGRAM.read_text())
    if template == wanted:
        return 0
    if check:
        sys.stderr.write("template.yaml does not carry infra/vm/boot.sh as it is: run scripts/generate\n")
        return 1
    TEMPLATE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
