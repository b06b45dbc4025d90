"""The launch template's user data: a header of assignments that CloudFormation fills in, and the boot program."""

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


def header(boot_program: str) -> str:
    """The first lines, in which Fn::Sub fills in the values."""
    shebang = boot_program.partition("\n")[0]
    return "\n".join([shebang, *(f"{name}=${{{source}}}" for name, source in HEADER.items())])


def generated(template: str, boot_program: str) -> str:
    """The template with its user data written anew.

    Only the header goes through Fn::Sub: bash has its own use for ${…}.

    Raises:
        ValueError: the template lost its marks, or the user data would be too long.
    """
    program = boot_program.partition("\n")[2]
    size = len(header(boot_program).encode()) + len(program.encode())
    if size > MAX_BYTES - ROOM_FOR_VALUES:
        raise ValueError(f"user data would have {size} bytes; EC2 takes {MAX_BYTES}, values of parameters included")
    before, begin, rest = template.partition(f"{_INDENT}{BEGIN}\n")
    _, end, after = rest.partition(f"{_INDENT}{END}\n")
    if not begin or not end:
        raise ValueError(f"template.yaml has lost the lines {BEGIN!r} and {END!r}")
    lines = [
        "Fn::Join:",
        '  - "\\n"',
        "  - - Fn::Sub: |-",
        *(f"        {line}" for line in header(boot_program).splitlines()),
        "    - |",
        *(f"      {line}" for line in program.splitlines()),
    ]
    return "".join([before, begin, *(f"{_INDENT}{line}".rstrip() + "\n" for line in lines), end, after])
