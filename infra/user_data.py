"""The launch template's user data: settings that CloudFormation fills in, the boot program, packed, and its start."""

import base64
import gzip
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
VM = ROOT / "infra" / "vm"
BEGIN = "# user data: begin (generated from infra/vm by scripts/generate)"
END = "# user data: end"
MAX_BYTES = 16 * 1024  # source: EC2's limit of raw user data
ROOM_FOR_VALUES = 2560  # what the settings grow by when parameters are filled in; AgentEnvironment may take 1,000
_INDENT = " " * 12
_COMMENT = re.compile(r"\s*#(?!!)")

SETTINGS = {
    "MAILBOX_TABLE": "MailboxTable",
    "DEPLOYMENT_REGION": "AWS::Region",
    "UNASSIGNED_TIMEOUT_SECONDS": "UnassignedTimeoutSeconds",
    "MAX_LIFETIME_SECONDS": "MaxLifetimeSeconds",
    "AGENT_VERSION": "AgentVersion",
    "AGENT_DOWNLOAD_URL": "AgentDownloadUrl",
    "AGENT_TOKEN_PARAMETER": "AgentTokenParameter",
    "AGENT_ENVIRONMENT": "AgentEnvironmentText",
    "BOOTSTRAP_URL": "BootstrapUrl",
    "BOOTSTRAP_SHA256": "BootstrapSha256",
    "HOOKS_URL": "HooksUrl",
    "HOOKS_SHA256": "HooksSha256",
    "PACKAGES": "PackagesText",
    "GIT_SSH_KEY_PARAMETER": "GitSshKeyParameter",
    "GIT_CREDENTIALS_PARAMETER": "GitCredentialsParameter",
    "JOB_ENVIRONMENT_PARAMETER": "JobEnvironmentParameter",
    "SIGNING_KEY_PARAMETER": "SigningKeyParameter",
    "VERIFICATION_KEY_PARAMETER": "VerificationKeyParameter",
    "ECR_LOGIN": "EcrLogin",
    "ARTIFACT_BUCKET": "ArtifactBucket",
    "JOB_METADATA": "JobMetadata",
    "JOB_SUDO": "JobSudo",
    "JOB_DOCKER": "JobDocker",
    "LOG_GROUP": "VmLogGroupName",
}
"""The boot program's settings, and what of the template holds them. The parameters' patterns forbid single quotes."""

VARIABLES = {
    "AgentEnvironmentText": '!Join [",", !Ref AgentEnvironment]',
    "PackagesText": '!Join [",", !Ref Packages]',
    "VmLogGroupName": '!If [KeepsVmLogs, !Ref VmLogGroup, ""]',
}
"""What Fn::Sub cannot take from a name alone."""


def boot_program() -> str:
    """The boot program in one piece: what it sources, and the hook that it installs, in their places.

    Without comments and indentation, for lack of room.
    """
    lines = (VM / "boot.sh").read_text().splitlines()
    packed: list[str] = []
    for line in lines:
        if line.startswith('source "${BASH_SOURCE%/*}/'):
            name = line.removeprefix('source "${BASH_SOURCE%/*}/').removesuffix('"')
            packed += (VM / name).read_text().splitlines()
        else:
            packed.append(line)
    whole = _with_hooks("\n".join(packed) + "\n").splitlines(keepends=True)
    return "".join(line.lstrip(" ") for line in whole if not _COMMENT.match(line))


def user_data(settings: dict[str, str]) -> str:
    """The user data with those settings, as a VM gets it."""
    return f"{_head(settings)}\n{_packed(boot_program())}\n{_start()}"


def unpacked(text: str) -> str:
    """The boot program that user data, or the template, carries."""
    packed = re.search(r"^(?: *- )?BOOT_PROGRAM=(\S+)$", text, re.MULTILINE)
    if packed is None:
        raise ValueError("there is no boot program in it")
    return gzip.decompress(base64.b64decode(packed[1])).decode()


def generated(template: str) -> str:
    """The template with its user data written anew.

    Only the settings go through Fn::Sub: bash has its own use for ${…}. A packed program that says the same is kept,
    for compression differs between versions of zlib.

    Raises:
        ValueError: the template lost its marks, or the user data would be too long.
    """
    before, begin, rest = template.partition(f"{_INDENT}{BEGIN}\n")
    current, end, after = rest.partition(f"{_INDENT}{END}\n")
    if not begin or not end:
        raise ValueError(f"template.yaml has lost the lines {BEGIN!r} and {END!r}")
    packed = next((line[line.index("BOOT_") :] for line in current.splitlines() if "- BOOT_PROGRAM=" in line), "")
    if not packed or unpacked(packed) != boot_program():
        packed = _packed(boot_program())
    head = _head({name: f"${{{source}}}" for name, source in SETTINGS.items()})
    size = len(f"{head}\n{packed}\n{_start()}".encode())
    if size > MAX_BYTES - ROOM_FOR_VALUES:
        raise ValueError(f"user data would have {size} bytes; EC2 takes {MAX_BYTES}, values of parameters included")
    lines = [
        "Fn::Join:",
        '  - "\\n"',
        "  - - Fn::Sub:",
        "        - |-",
        *(f"          {line}" for line in head.splitlines()),
        *(f"        {'-' if n == 0 else ' '} {name}: {value}" for n, (name, value) in enumerate(VARIABLES.items())),
        f"    - {packed}",
        "    - |",
        *(f"      {line}" for line in _start().splitlines()),
    ]
    return "".join([before, begin, *(f"{_INDENT}{line}".rstrip() + "\n" for line in lines), end, after])


def _head(values: dict[str, str]) -> str:
    return "\n".join(["#!/usr/bin/env bash", "SETTINGS='", *(f"{name}={value}" for name, value in values.items()), "'"])


def _packed(program: str) -> str:
    return f"BOOT_PROGRAM={base64.b64encode(gzip.compress(program.encode(), mtime=0)).decode()}"


def _start() -> str:
    return (VM / "start.sh").read_text().partition("\n")[2]


def _with_hooks(program: str) -> str:
    for path in sorted((VM / "hooks").iterdir()):
        program = program.replace(f"@hooks/{path.name}@\n", path.read_text())
    return program
