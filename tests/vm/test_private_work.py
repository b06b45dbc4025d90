"""What operators add: preparation, packages, hooks, keys, logs; each read with the VM's own role."""

import base64
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.simulator.vm import process
from tests.vm.harness import BUCKET, VmHarness, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.share(4)]

SHIMS = process.HERE / "shims"


def put(harness: VmHarness, key: str, content: bytes) -> None:
    harness.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)


def bundle(**hooks: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in hooks.items():
            entry = tarfile.TarInfo(name.replace("_", "-"))
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


def as_setting(text: str) -> str:
    """As the template hands on a parameter that may hold any character."""
    return base64.b64encode(text.encode()).decode()


def keep(harness: VmHarness, name: str, value: str) -> None:
    harness.aws.client("ssm").put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


def test_the_operators_script_runs_before_the_agent(harness: VmHarness) -> None:
    """With what root usually has: what it makes is for everybody, and the job's user is there to be given things."""
    put(harness, "bootstrap", b"#!/bin/sh\ncd $STATE_DIRECTORY; mkdir tools; echo prepared >tools/it; echo at $HOME\n")
    job_id, token = harness.reserve("stat -c %a ../../../../tools/it; cat ../../../../tools/it")
    harness.fill("i-0201", job_id, token)
    vm = harness.boot("i-0201", header={"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap"})
    harness.ended(vm)
    assert harness.output(job_id) == "644\nprepared\n"
    assert "at /root" in vm.console()
    steps = [step.split()[0] for step in harness.steps(vm)]
    assert steps.index("useradd") < steps.index("s3:GetObject")


@pytest.mark.parametrize(
    ("script", "header", "said"),
    [
        (b"#!/bin/sh\nexit 7\n", {}, "bootstrap script ended with code 7"),
        (b"#!/bin/sh\nexec sleep 60\n", {"BOOTSTRAP_TIMEOUT_SECONDS": "1"}, "bootstrap script ended with code 124"),
        (b"#!/bin/sh\n", {"BOOTSTRAP_SHA256": "0" * 64}, "does not match"),
        (b"#!/bin/sh\n", {"BOOTSTRAP_URL": f"s3://{BUCKET}/other"}, "cannot download"),
    ],
)
@pytest.mark.share(6)
def test_a_preparation_that_fails_costs_the_vm_and_not_the_credential(
    harness: VmHarness, script: bytes, header: dict[str, str], said: str
) -> None:
    put(harness, "bootstrap", script)
    job_id, token = harness.reserve("true")
    harness.fill("i-0202", job_id, token)
    environment = {name: value for name, value in header.items() if name == "BOOTSTRAP_TIMEOUT_SECONDS"}
    vm = harness.boot("i-0202", header={"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap", **header}, environment=environment)
    harness.ended(vm)
    assert harness.mail("i-0202")["stage"] == "failed"
    assert said in harness.mail("i-0202")["detail"]
    assert "credential" in harness.mail("i-0202")


@pytest.mark.parametrize("broken", ["missing", "checksum"])
def test_a_download_that_fails_is_named_without_what_signs_it(harness: VmHarness, broken: str) -> None:
    put(harness, "bootstrap", b"#!/bin/sh\n")
    group = "/agent-stack/stack/vms"
    job_id, token = harness.reserve("true")
    harness.fill("i-0218", job_id, token)
    url = f"{harness.aws.url}/{BUCKET}/{'bootstrap' if broken == 'checksum' else 'none'}"
    signed = f"{url}?X-Amz-Credential=s3cr3t&X-Amz-Signature=s3cr3t"
    header = {"BOOTSTRAP_URL": signed, "BOOTSTRAP_SHA256": "0" * 64, "LOG_GROUP": group}
    vm = harness.boot("i-0218", header=header)
    harness.ended(vm)
    answer = harness.aws.client("logs").get_log_events(logGroupName=group, logStreamName="i-0218", startFromHead=True)
    detail, logs = harness.mail("i-0218")["detail"], json.dumps([event["message"] for event in answer["events"]])
    assert {"missing": f"cannot download {url}: 40", "checksum": f"checksum of {url} does not match"}[broken] in detail
    assert "does not match" in logs or "cannot download" in logs
    for text in (detail, logs, vm.console()):
        assert "X-Amz" not in text
        assert "s3cr3t" not in text


def test_another_object_of_the_bucket_is_not_for_the_vm(harness: VmHarness) -> None:
    put(harness, "secret", b"")
    job_id, token = harness.reserve("true")
    harness.fill("i-0203", job_id, token)
    vm = harness.boot("i-0203", header={"BOOTSTRAP_URL": f"s3://{BUCKET}/secret"})
    harness.ended(vm)
    assert any(step.startswith("s3:GetObject") and step.endswith("denied") for step in harness.steps(vm))


def test_packages_whose_command_is_missing_are_installed(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0204", job_id, token)
    vm = harness.boot("i-0204", header={"PACKAGES": "git,docker"})
    harness.ended(vm)
    steps = harness.steps(vm)
    assert "dnf install -q -y docker" in steps
    assert steps.index("dnf install -q -y docker") < steps.index("systemctl start docker")
    assert "dynamodb:UpdateItem preparing" in steps


APT = """#!/bin/bash
echo "apt-get $*" >>"$LOCAL_VM_ROOT/effects.log"
[[ $(grep -c ' update' "$LOCAL_VM_ROOT/effects.log") -gt 1 ]] || { echo "E: Could not get lock" >&2; exit 100; }
"""


def test_on_ubuntu_an_update_of_the_images_own_is_waited_for(harness: VmHarness, tmp_path: Path) -> None:
    """It holds apt's locks for the first seconds of a first boot."""
    ubuntu = tmp_path / "ubuntu"
    ubuntu.mkdir()
    for shim in SHIMS.iterdir():
        if shim.name != "dnf":
            (ubuntu / shim.name).symlink_to(shim)
    job_id, token = harness.reserve("true")
    harness.fill("i-0214", job_id, token)
    path = f"{ubuntu}:{tmp_path / 'i-0214' / 'bin'}:/usr/bin:/bin"
    files = {"bin/apt-get": APT}
    vm = harness.boot("i-0214", header={"PACKAGES": "git,docker"}, files=files, environment={"PATH": path})
    harness.ended(vm)
    assert [step for step in harness.steps(vm) if step.startswith("apt-get")] == [
        "apt-get -qq update",
        "apt-get -qq update",
        "apt-get -qq install -y --no-install-recommends docker.io",
    ]
    assert harness.buildkite.job(job_id).state == "finished"


def test_ubuntu_neither_restarts_the_agent_nor_upgrades_itself_under_a_job(harness: VmHarness) -> None:
    """Its needrestart would, after any installation, a job's own included."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0215", job_id, token)
    vm = harness.boot("i-0215", files={"bin/apt-get": "#!/bin/sh\n"})
    harness.ended(vm)
    spared = (vm.directory / "etc/needrestart/conf.d/agent-stack.conf").read_text()
    assert spared == "$nrconf{override_rc}{qr(^agent-stack-)} = 0;\n"
    assert "systemctl stop apt-daily.timer apt-daily-upgrade.timer" in harness.steps(vm)


def test_hooks_of_the_operator_run_and_ours_beside_them(harness: VmHarness) -> None:
    hooks = bundle(environment='export FROM_OPERATOR="$FROM_PARAMETER, too"\n', pre_command="#!/bin/sh\n")
    put(harness, "hooks.tar.gz", hooks)
    keep(harness, "/private/environment", 'FROM_PARAMETER=a "quoted" \\ value=\n')
    job_id, token = harness.reserve("true")
    harness.fill("i-0205", job_id, token)
    header = {"HOOKS_URL": f"s3://{BUCKET}/hooks.tar.gz", "JOB_ENVIRONMENT_PARAMETER": "/private/environment"}
    probe = """#!/bin/bash
source "$BUILDKITE_HOOKS_PATH/environment"
echo "$FROM_OPERATOR"
ls "$BUILDKITE_HOOKS_PATH"
exit 3
"""
    vm = harness.boot("i-0205", agent=None, files={"bin/buildkite-agent": probe}, header=header)
    harness.ended(vm)
    said = (vm.directory / "var/lib/agent-stack/agent.log").read_text().splitlines()
    assert said == ['a "quoted" \\ value=, too', "environment", "environment.operator", "pre-command", "pre-exit"]


def test_keys_are_read_for_the_jobs_queue_and_end_with_the_agent(harness: VmHarness) -> None:
    key = yard_key(Path(os.environ.get("TMPDIR", "/tmp")) / "never-written")
    keep(harness, "/private/default/ssh-key", key)
    keep(harness, "/private/git-credentials", "https://x-token:s3cr3t@git.example")
    keep(harness, "/private/signing-key", '{"keys": ["private"]}')
    keep(harness, "/private/verification-key", '{"keys": ["public"]}')
    header = {
        "GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key",
        "GIT_CREDENTIALS_PARAMETER": "/private/git-credentials",
        "SIGNING_KEY_PARAMETER": "/private/signing-key",
        "VERIFICATION_KEY_PARAMETER": "/private/verification-key",
        "ECR_LOGIN": "account",
        "ARTIFACT_BUCKET": "artifacts",
        "AGENT_ENVIRONMENT": as_setting("BUILDKITE_GIT_CLONE_FLAGS=--depth=1,OTHER=x y"),
    }
    probe = """#!/bin/bash
export BUILDKITE_PIPELINE_ID=p BUILDKITE_BUILD_ID=b BUILDKITE_JOB_ID=j
source "$BUILDKITE_HOOKS_PATH/environment"
ssh-add -l | cut -d' ' -f3
ls "$AGENT_STACK_PRIVATE"
printf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill | grep password
for file in "$BUILDKITE_AGENT_VERIFICATION_JWKS_FILE" "$BUILDKITE_AGENT_SIGNING_JWKS_FILE"; do cat "$file"; echo; done
grep -c auth "${DOCKER_CONFIG:-$HOME/.docker}/config.json"
cd "$AGENT_STACK_PRIVATE" && stat -c %a "$LOCAL_VM_ROOT/etc/gitconfig" ~/.docker/config.json git-credentials *-key.json
echo "$BUILDKITE_ARTIFACT_UPLOAD_DESTINATION"
echo "$BUILDKITE_GIT_CLONE_FLAGS, $OTHER"
exit 3
"""
    job_id, token = harness.reserve("true")
    harness.fill("i-0206", job_id, token)
    vm = harness.boot("i-0206", agent=None, files={"bin/buildkite-agent": probe}, header=header)
    harness.ended(vm)
    assert (vm.directory / "var/lib/agent-stack/agent.log").read_text().splitlines() == [
        "of-the-tests",
        "docker",
        "git-credentials",
        "signing-key.json",
        "ssh",
        "token",
        "verification-key.json",
        "password=s3cr3t",
        '{"keys": ["public"]}',
        '{"keys": ["private"]}',
        "1",
        "644",
        *["600"] * 4,
        "s3://artifacts/p/b/j",
        "--depth=1, x y",
    ]
    left = "".join(path.read_text(errors="replace") for path in vm.directory.rglob("*") if path.is_file())
    assert key.splitlines()[1] not in left
    assert "x-token" not in left


def yard_key(path: Path) -> str:
    """A private key."""
    made = subprocess.run(
        [
            "bash",
            "-c",
            'd=$(mktemp -d); ssh-keygen -q -t ed25519 -N "" -C of-the-tests -f "$d/key"; cat "$d/key"; rm -r "$d"',
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not path.exists()
    return made.stdout


def test_a_parameter_that_is_not_there_is_named(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0207", job_id, token, queue_key="other")
    vm = harness.boot("i-0207", header={"GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key"})
    harness.ended(vm)
    assert "parameter /private/other/ssh-key cannot be read: it is not there" in harness.mail("i-0207")["detail"]


def test_a_parameter_that_the_role_may_not_read_is_named(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0216", job_id, token)
    vm = harness.boot("i-0216", header={"JOB_ENVIRONMENT_PARAMETER": "/somebody/elses"})
    harness.ended(vm)
    assert "parameter /somebody/elses cannot be read: AccessDeniedException" in harness.mail("i-0216")["detail"]


def test_logs_go_to_cloudwatch_without_the_credential(harness: VmHarness) -> None:
    logs = harness.aws.client("logs")
    group = "/agent-stack/stack/vms"
    job_id, token = harness.reserve("true")
    harness.fill("i-0208", job_id, token)
    probe = """#!/bin/bash
token=$(cat "${BUILDKITE_AGENT_TOKEN#file://}")
for n in {1..450}; do echo "line $n \\"quoted\\" \\\\ $token"; done
sleep 1
exit 3
"""
    vm = harness.boot("i-0208", agent=None, files={"bin/buildkite-agent": probe}, header={"LOG_GROUP": group})
    harness.ended(vm)
    answer = logs.get_log_events(logGroupName=group, logStreamName="i-0208", startFromHead=True)
    said = [event["message"] for event in answer["events"]]
    assert 'line 450 "quoted" \\ ***' in said
    assert sum(line.startswith("line ") for line in said) == 450
    assert "powering off" in said
    assert any("systemd[1]: this VM's boot" in line for line in said)
    assert token not in json.dumps(said)


def test_a_credential_at_the_place_where_a_line_is_cropped_is_redacted(harness: VmHarness) -> None:
    group = "/agent-stack/stack/vms"
    job_id, token = harness.reserve("true")
    harness.fill("i-0217", job_id, token)
    probe = """#!/bin/bash
token=$(cat "${BUILDKITE_AGENT_TOKEN#file://}")
for before in 999 980 $((1000 - ${#token} + 1)); do printf '%0*d%s\\n' "$before" 0 "$token"; done
sleep 1
exit 3
"""
    vm = harness.boot("i-0217", agent=None, files={"bin/buildkite-agent": probe}, header={"LOG_GROUP": group})
    harness.ended(vm)
    answer = harness.aws.client("logs").get_log_events(logGroupName=group, logStreamName="i-0217", startFromHead=True)
    said = [event["message"] for event in answer["events"] if event["message"].startswith("0000")]
    assert [line.lstrip("0") for line in said] == ["*", "***", "***"]


def test_logs_that_cannot_be_shipped_cost_nothing(harness: VmHarness) -> None:
    job_id, token = harness.reserve("echo ok")
    harness.fill("i-0209", job_id, token)
    vm = harness.boot("i-0209", header={"LOG_GROUP": "/somebody/elses"})
    harness.ended(vm)
    assert harness.output(job_id) == "ok\n"
    assert "logs not shipped: AccessDeniedException" in vm.console()


@pytest.mark.parametrize("sudo", ["allowed", "denied"])
def test_a_job_is_root_only_where_the_operator_says_so(harness: VmHarness, sudo: str) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0210", job_id, token)
    vm = harness.boot("i-0210", header={"JOB_SUDO": sudo})
    harness.ended(vm)
    assert (vm.directory / "etc/sudoers.d/agent-stack").exists() is (sudo == "allowed")


@pytest.mark.parametrize("docker", ["allowed", "denied"])
def test_a_job_has_dockers_group_only_where_the_operator_says_so(harness: VmHarness, docker: str) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0211", job_id, token)
    vm = harness.boot("i-0211", files={"bin/docker": "#!/bin/sh\n"}, header={"JOB_DOCKER": docker})
    harness.ended(vm)
    joined = "usermod --append --groups docker buildkite-agent" in harness.steps(vm)
    assert joined is (docker == "allowed")


def test_an_agent_is_asked_for_what_the_mailbox_says(harness: VmHarness) -> None:
    """By environment alone: what differs between versions of the agent is its flags."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0212", job_id, token)
    probe = '#!/bin/bash\necho "$@"; env | grep ^BUILDKITE | grep -v TOKEN | sort; exit 3'
    vm = harness.boot("i-0212", agent=None, files={"bin/buildkite-agent": probe})
    harness.ended(vm)
    said = (vm.directory / "var/lib/agent-stack/agent.log").read_text().splitlines()
    assert said[0] == "start"
    assert f"BUILDKITE_AGENT_ACQUIRE_JOB={job_id}" in said
    assert any(line.startswith("BUILDKITE_AGENT_TAGS=queue=default,class=default,aws:instance-id=") for line in said)


def test_the_default_queue_needs_no_tag(harness: VmHarness) -> None:
    job_id, token = harness.reserve("echo ok")
    harness.fill("i-0213", job_id, token, queue_key="", agent_tags="")
    vm = harness.boot("i-0213")
    harness.ended(vm)
    wait_for(lambda: harness.buildkite.job(job_id).state == "finished")
