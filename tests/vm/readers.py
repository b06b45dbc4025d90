"""The boot program's readers, run as they ship, one at a time: text in, and what they make of it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.user_data import VM, with_files
from tests.simulator.vm.units import parse_environment_file

DRIVER = r"""
set -euo pipefail
export LC_ALL=C
declare -A value=() mail=([queue_key]=default [credential_kind]=job-token)
hold=''
fail() { printf '%s' "$1" >&2; exit 1; }
say() { :; }
cd "$1"
for file in requests mailbox values environment private docker standby; do source "./$file.sh"; done
as_stored() { text=$2; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What came of it: the text, or why it was refused."""

    text: str = ""
    refused: str = ""


def _run(script: str, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None) -> Read:
    done = subprocess.run(
        ["bash", "-c", DRIVER + script, "bash", str(VM), *arguments],
        input=given.encode(),
        capture_output=True,
        check=False,
        env={"PATH": os.defpath, **(environment or {})},
    )
    if done.returncode:
        return Read(refused=done.stderr.decode(errors="replace") or f"code {done.returncode}")
    return Read(text=done.stdout.decode())


def read_parameter(reader: str, stored: str, *, ascii_only: bool = True, name: str = "/private/it") -> Read:
    """A parameter, from the store's answer to what its reader leaves for the job.

    Args:
        reader: a function of infra/vm/values.sh, or `as_stored`.
        ascii_only: how the store writes what is not ASCII.
    """
    other = {
        "Name": "/private/other",
        "Type": "String",
        "Value": '"Name":"/private/it","Value":"forged"}',
        "Version": 1,
    }
    wanted = {"ARN": "arn:x", "Name": name, "SourceResult": json.dumps({"SecretString": stored}), "Value": stored}
    answer = json.dumps({"InvalidParameters": [], "Parameters": [other, wanted]}, ensure_ascii=ascii_only)
    script = r"""
answer=$(cat && printf .)
read_values "${answer%.}"
"$2" "$3" "${value[${3#/}]}"
printf '%s' "$text"
"""
    return _run(script, reader, name, given=answer)


def one_word(stored: str) -> Read:
    """A token."""
    script = r"""
answer=$(cat && printf .)
read_values "${answer%.}"
one_word "${value[token]}" || fail 'no token'
printf '%s' "$text"
"""
    return _run(script, given=json.dumps({"Parameters": [{"Name": "token", "Value": stored}]}))


def parameter_name(setting: str, queue: str) -> Read:
    """The name of the parameter that GitSshKeyParameter says, for a job of that queue."""
    script = r"""
GIT_SSH_KEY_PARAMETER=$2 mail[queue_key]=$3
aws() { printf '%s' "$3"; exit; }
read_parameters
"""
    return _run(script, setting, queue)


def registry_login(answered: str, *, accounts: str = "") -> Read:
    """Docker's settings, of what the registry's service answered."""
    script = r"""
aws() { answer=$given; }
install() { [[ $* != *' /dev/stdin '* ]] || cat; }
getent() { echo "$2:x:991:991::/nowhere:/bin/bash"; }
AGENT_USER=somebody PRIVATE=/nowhere given=$(cat) ECR_ACCOUNTS=$2
log_in_to_ecr
leave_docker_logins
"""
    return _run(script, accounts, given=answered)


def docker_logins(stored: str) -> Read:
    """Docker's settings, of what DockerLoginsParameter's parameter holds."""
    script = r"""
install() { [[ $* != *' /dev/stdin '* ]] || cat; }
getent() { echo "$2:x:991:991::/nowhere:/bin/bash"; }
AGENT_USER=somebody PRIVATE=/nowhere DOCKER_LOGINS_PARAMETER=/ci/docker value[ci/docker]=$(cat && printf .)
value[ci/docker]=${value[ci/docker]%.}
load_docker_logins
"""
    return _run(script, given=stored)


def configure_mirrors(mirrors: str, directory: Path) -> Read:
    """Docker's and BuildKit's files below that directory, in place of /etc/docker and the user's home; what it said."""
    script = r"""
say() { echo "$1"; }
install() {
  local kept=() one
  for one; do [[ $one == -[og] || $one == "$AGENT_USER" ]] || kept+=("$one"); done
  command install "${kept[@]}"
}
getent() { echo "$2:x:991:991::$DOCKER_DIRECTORY:/bin/bash"; }
systemctl() { echo "systemctl $*"; }
timeout() { shift && "$@"; }
AGENT_USER=somebody DOCKER_MIRRORS=$2
configure_mirrors
"""
    return _run(script, mirrors, environment={"DOCKER_DIRECTORY": str(directory)})


def write_host_keys(settings: str, directory: Path, *, slow: str = "") -> str:
    """Makes ssh's files in that directory, as GitKnownHosts says; why it was refused, or nothing.

    Args:
        directory: in the place of /etc/ssh, with what the image has there.
        slow: a program that begins late.
    """
    script = r"""
[[ -z $2 ]] || eval "$2() { sleep 0.3; command $2 \"\$@\"; }"
GIT_KNOWN_HOSTS=$(command base64)
FUNCTIONS
write_known_hosts
"""
    program = with_files((VM / "known_hosts.sh").read_text())
    given = {"SSH_DIRECTORY": str(directory)}
    return _run(script.replace("FUNCTIONS", program), slow, given=settings, environment=given).refused


def read_mail(name: str, stored: str) -> Read:
    """One attribute of a mailbox that lacks nothing else."""
    item = {"job_id": "j", "endpoint": "https://x", "credential_kind": "job-token", "queue_key": "", "agent_tags": ""}
    held = {**item, "agent_name": "a", name: stored}
    answer = json.dumps({"Item": {each: {"S": text} for each, text in held.items()}})
    script = r"""
answer=$(cat)
read_mailbox
printf '%s' "${mail[$2]}"
"""
    return _run(script, name, given=answer)


def told_to_agent(settings: str) -> Mapping[str, str] | str:
    """AgentEnvironment, as the agent finds it in its environment; or why it was refused."""
    script = r"""
settings=$(cat && printf .)
take_settings "$settings" "parameter AgentEnvironment"
for name in "${!given[@]}"; do
  quoted "${given[$name]}"
  printf '%s="%s"\n' "$name" "$field"
done
"""
    done = _run(script, given=settings)
    return done.refused or parse_environment_file(done.text)


def settings_in_user_data(lines: str) -> Mapping[str, str]:
    """The environment that the boot program makes of the settings in user data."""
    boot = (VM / "boot.sh").read_text()
    function = boot[boot.index("read_settings() {") : boot.index("check_settings() {")]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "settings"
        path.write_text(lines)
        done = _run(f'{function}\nread_settings "$2"\nenv -0', str(path))
    assert not done.refused, done.refused
    return dict(pair.split("=", 1) for pair in done.text.split("\0") if pair)


def exported_by_hook(kept: str, environment: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """What a job's environment holds after our hook, of the file that `read_job_environment` leaves."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "environment").write_text(kept)
        given = {"AGENT_STACK_PRIVATE": directory, "HOME": directory, **(environment or {})}
        done = _run(f'source "{VM}/hooks/environment"\nenv -0', environment=given)
    assert not done.refused, done.refused
    return dict(pair.split("=", 1) for pair in done.text.split("\0") if pair)
