"""The launch template's user data: settings that CloudFormation fills in, the boot program's first stage, its start.

The second stage is not in it: it is a file of the functions' artefact, which the dispatcher puts into the mailbox table
under its hash. The settings name that hash.
"""

import base64
import gzip
import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
VM = ROOT / "infra" / "vm"
PROGRAM = ROOT / "functions" / "agent_stack" / "vm_program.sh"
"""The second stage, as the functions ship it."""
BEGIN = "# user data: begin (generated from infra/vm by scripts/generate)"
END = "# user data: end"
MAX_BYTES = 16 * 1024  # source: EC2's limit of raw user data
MAX_OWN_BYTES = 10 * 1024  # what is ours of it; the rest is for the values of parameters
_INDENT = " " * 12
_COMMENT = re.compile(r"\s*#(?!!)")
_TRAILING_COMMENT = re.compile(r"(?<=\S) +# .*$", re.MULTILINE)
_SOURCE = re.compile(r'source "\$\{BASH_SOURCE%/\*\}/([a-z_]+\.sh)"')
_HASH = re.compile(r"""(?<=PROGRAM_SHA256[=:])( ?"?)[0-9a-f]{64}""")

SETTINGS = {
    "MAILBOX_TABLE": "MailboxTable",
    "DEPLOYMENT_REGION": "AWS::Region",
    "UNASSIGNED_TIMEOUT_SECONDS": "UnassignedTimeoutSeconds",
    "MAX_LIFETIME_SECONDS": "MaxLifetimeSeconds",
    "JOB_GRACE_SECONDS": "JobGraceSeconds",
    "HOLD_ON_FAILURE_MINUTES": "HoldOnFailureMinutes",
    "CANCEL_GRACE_SECONDS": "CancelGraceSeconds",
    "AGENT_VERSION": "AgentVersion",
    "AGENT_DOWNLOAD_URL": "AgentDownload",
    "AGENT_TOKEN_PARAMETER": "AgentTokenParameter",
    "AGENT_ENVIRONMENT": "AgentEnvironmentText",
    "AGENT_CONFIG_FILE": "AgentConfigFile",
    "AGENT_EXPERIMENTS": "AgentExperimentsText",
    "AGENT_TRACING": "AgentTracing",
    "ALLOWED_REPOSITORIES": "AllowedRepositories",
    "ALLOWED_PLUGINS": "AllowedPlugins",
    "REDACTED_VARIABLES": "RedactedVariablesText",
    "PROXY": "HttpProxy",
    "NO_PROXY_FOR": "NoProxyText",
    "BOOTSTRAP_URL": "BootstrapUrl",
    "BOOTSTRAP_SHA256": "BootstrapSha256",
    "HOOKS_URL": "HooksUrl",
    "HOOKS_SHA256": "HooksSha256",
    "PACKAGES": "PackagesText",
    "GIT_SSH_KEY_PARAMETER": "GitSshKeyParameter",
    "GIT_KNOWN_HOSTS": "GitKnownHostsText",
    "GIT_CREDENTIALS_PARAMETER": "GitCredentialsParameter",
    "GIT_MIRRORS": "GitMirrors",
    "GIT_MIRROR_SEED_BUCKET": "GitMirrorSeedBucket",
    "JOB_ENVIRONMENT_PARAMETER": "JobEnvironmentParameter",
    "SIGNING_KEY_PARAMETER": "SigningKeyParameter",
    "VERIFICATION_KEY_PARAMETER": "VerificationKeyParameter",
    "ECR_LOGIN": "EcrLogin",
    "ECR_ACCOUNTS": "EcrAccountsText",
    "DOCKER_LOGINS_PARAMETER": "DockerLoginsParameter",
    "DOCKER_MIRRORS": "DockerMirrorsText",
    "ARTIFACT_BUCKET": "ArtifactBucket",
    "JOB_AWS": "JobAwsText",
    "JOB_METADATA": "JobMetadata",
    "JOB_SUDO": "JobSudo",
    "JOB_DOCKER": "JobDocker",
    "LOG_GROUP": "VmLogGroupName",
}
"""The boot program's settings, and what of the template holds them. The parameters' patterns forbid single quotes, or
else the text goes in base64."""

VARIABLES = {
    "AgentDownload": (
        '!If [HasOtherChannel, !Sub "https://download.buildkite.com/agent/${AgentChannel}", !Ref AgentDownloadUrl]'
    ),
    "AgentEnvironmentText": "{ Fn::Base64: !Ref AgentEnvironment }",
    "GitKnownHostsText": "{ Fn::Base64: !Ref GitKnownHosts }",
    "DockerMirrorsText": '!Join [",", !Ref DockerRegistryMirrors]',
    "EcrAccountsText": '!Join [",", !Ref EcrAccounts]',
    "AgentExperimentsText": '!Join [",", !Ref AgentExperiments]',
    "RedactedVariablesText": '!Join [",", !Ref RedactedVariables]',
    "JobAwsText": (
        '!Join ["|", [!If [MakesJobRole, !GetAtt JobRole.Arn, !Ref JobRoleArn], !Ref JobSecretsPath, '
        "!Ref SecretsBucket, !If [MakesCacheBucket, !Ref Caches, !Ref CacheBucket]]]"
    ),
    "NoProxyText": '!Join [",", !Ref NoProxy]',
    "PackagesText": '!Join [",", !Ref Packages]',
    "VmLogGroupName": '!If [KeepsVmLogs, !Ref VmLogGroup, ""]',
}
"""What Fn::Sub cannot take from a name alone."""


def first_stage() -> str:
    """What user data carries, in one piece."""
    return _in_one_piece("boot.sh")


def second_stage() -> str:
    """What the dispatcher puts into the mailbox table, in one piece."""
    return _in_one_piece("job.sh")


def program_sha256() -> str:
    """By which user data names the second stage."""
    return hashlib.sha256(second_stage().encode()).hexdigest()


def user_data(settings: dict[str, str]) -> str:
    """The user data with those settings, as a VM gets it."""
    return f"{_head(settings)}\n{_packed(first_stage())}\n{_start()}"


def unpacked(text: str) -> str:
    """The first stage that user data, or the template, carries."""
    packed = re.search(r"^(?: *- )?BOOT_PROGRAM=(\S+)$", text, re.MULTILINE)
    if packed is None:
        raise ValueError("there is no boot program in it")
    return gzip.decompress(base64.b64decode(packed[1])).decode()


def generated(template: str) -> str:
    """The template with its user data, and the hash that the functions get, written anew.

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
    if not packed or unpacked(packed) != first_stage():
        packed = _packed(first_stage())
    head = _head({name: f"${{{source}}}" for name, source in SETTINGS.items()})
    size = len(f"{head}\n{packed}\n{_start()}".encode())
    if size > MAX_OWN_BYTES:
        raise ValueError(f"user data would have {size} bytes without its values; {MAX_OWN_BYTES} are ours")
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
    written = "".join([before, begin, *(f"{_INDENT}{line}".rstrip() + "\n" for line in lines), end, after])
    return _HASH.sub(lambda found: f"{found[1]}{program_sha256()}", written)


def _head(values: dict[str, str]) -> str:
    settings = [f"{name}={value}" for name, value in {**values, "PROGRAM_SHA256": program_sha256()}.items()]
    return "\n".join(["#!/usr/bin/env bash", "SETTINGS='", *settings, "'"])


def _packed(program: str) -> str:
    return f"BOOT_PROGRAM={base64.b64encode(gzip.compress(program.encode(), mtime=0)).decode()}"


def _start() -> str:
    """Without its comments, for lack of room: they are in infra/vm/start.sh."""
    lines = without_trailing_comments((VM / "start.sh").read_text()).splitlines(keepends=True)[1:]
    return "".join(line for line in lines if line.strip() and not line.startswith("#"))


def _in_one_piece(name: str) -> str:
    """A file, what it sources, and the hooks and data in it, in their places; without comments and indentation."""
    whole = with_files("\n".join(_lines(name)) + "\n")
    lines = without_trailing_comments(whole).splitlines(keepends=True)
    return "".join(line.lstrip(" ") for line in lines if line.strip() and not _COMMENT.match(line))


def without_trailing_comments(program: str) -> str:
    """Because Image Builder and EC2 count every character. A test compares what bash reads before and after."""
    return _TRAILING_COMMENT.sub("", program)


def _lines(name: str) -> list[str]:
    found: list[str] = []
    for line in (VM / name).read_text().splitlines():
        source = _SOURCE.fullmatch(line)
        found += _lines(source[1]) if source else [line]
    return found


def with_files(program: str) -> str:
    """With the hooks, data and programs of the job that it names by their places."""
    for path in sorted(path for room in ("hooks", "data", "job") for path in (VM / room).iterdir()):
        program = program.replace(f"@{path.parent.name}/{path.name}@\n", path.read_text())
        program = program.replace(f'source "${{BASH_SOURCE%/*}}/{path.name}"\n', path.read_text())
    return program
