"""A bootstrap script for each class, what it tells the agent, and the recipes in docs/examples/bootstrap."""

import json
from pathlib import Path

import pytest

from tests.vm.harness import BUCKET, VmHarness

RECIPES = Path(__file__).parents[2] / "docs" / "examples" / "bootstrap"
AGENT_UNIT = "agent-stack-agent"
NOTED = '#!/bin/sh\necho "$(basename "$0") $*" >>"$LOCAL_VM_ROOT/disks.log"\n'
"""A program that only notes how it was called: the host keeps its disks."""
DISKS = """#!/bin/sh
echo '/dev/nvme0n1 Amazon Elastic Block Store'
echo '/dev/nvme1n1 Amazon EC2 NVMe Instance Storage'
echo '/dev/nvme2n1 Amazon EC2 NVMe Instance Storage'
"""


def put(harness: VmHarness, key: str, script: str) -> None:
    harness.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=script.encode())


def test_a_class_has_a_script_of_its_own_which_gives_its_agents_settings(harness: VmHarness) -> None:
    """As the operator's AgentEnvironment does, and after it; a comma is part of a value."""
    settings = r'"FLAVOUR=%s,x=y\r\nBUILDKITE_SHELL=/bin/sh -e -c" "$AGENT_STACK_CLASS"'
    put(harness, "bootstrapgpu", f'#!/bin/sh\nprintf {settings} >"$AGENT_STACK_ENVIRONMENT"\n')
    put(harness, "bootstrap", "#!/bin/sh\nexit 7\n")
    job_id, token = harness.reserve('printf "%s|%s\\n" "$FLAVOUR" "${AGENT_STACK_ENVIRONMENT:-none}"')
    harness.fill("i-2601", job_id, token)
    header = {"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap{{class}}", "AGENT_ENVIRONMENT": "RkxBVk9VUj1ub25lCg=="}
    vm = harness.boot("i-2601", header=header, vm_class="gpu/g6.xlarge/spot")
    harness.ended(vm)
    assert harness.output(job_id) == "gpu,x=y|none\n"


@pytest.mark.parametrize(
    ("vm_class", "script", "said"),
    [
        ("", "", "BootstrapUrl names {class}, and the VM's tags do not say it"),
        ("arm", "", "cannot download"),
        (
            "gpu",
            'echo "no setting" >"$AGENT_STACK_ENVIRONMENT"',
            "bootstrap script's settings, line 1 is not NAME=value",
        ),
    ],
)
def test_a_class_without_a_usable_script_costs_the_vm_and_says_why(
    harness: VmHarness, vm_class: str, script: str, said: str
) -> None:
    put(harness, "bootstrapgpu", f"#!/bin/sh\n{script}\n")
    job_id, token = harness.reserve("true")
    harness.fill("i-2602", job_id, token)
    vm = harness.boot("i-2602", header={"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap{{class}}"}, vm_class=vm_class)
    harness.ended(vm)
    assert said in harness.mail("i-2602")["detail"]
    assert "credential" in harness.mail("i-2602")


def test_the_recipes_do_what_they_say_and_a_job_runs_after_them(harness: VmHarness) -> None:
    recipes = {f"recipes/{path.name}": path.read_text() for path in RECIPES.glob("*.sh")}
    assert len(recipes) == 4
    programs = {f"bin/{name}": NOTED for name in ("mdadm", "mkfs.ext4", "mount", "visudo")}
    put(harness, "bootstrap", '#!/bin/sh\nset -e\nfor recipe in "$LOCAL_VM_ROOT"/recipes/*.sh; do "$recipe"; done\n')
    job_id, token = harness.reserve("echo ran")
    harness.fill("i-2603", job_id, token)
    vm = harness.boot(
        "i-2603",
        header={"BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap"},
        files={**recipes, **programs, "bin/lsblk": DISKS},
    )
    harness.ended(vm)
    assert harness.output(job_id) == "ran\n"
    etc = vm.directory / "etc"
    assert json.loads((etc / "docker/daemon.json").read_text())["default-address-pools"][0]["size"] == 24
    sudoers = etc / "sudoers.d/ci-commands"
    assert (sudoers.read_text().split()[0], sudoers.stat().st_mode & 0o777) == ("buildkite-agent", 0o440)
    limits = (etc / f"systemd/system/{AGENT_UNIT}.service.d/limits.conf").read_text()
    assert limits.startswith("[Service]\nMemoryHigh=")
    assert AGENT_UNIT in " ".join(harness.steps(vm))
    assert "systemctl daemon-reload" in vm.effects()
    done = (vm.directory / "disks.log").read_text().splitlines()
    assert [line.split()[0] for line in done] == ["mdadm", "mkfs.ext4", "mount", "mount", "mount", "visudo"]
    assert "--level=0 --raid-devices=2 /dev/nvme1n1 /dev/nvme2n1" in done[0]
    assert done[1].endswith("/dev/md0")
    assert [line.rpartition("/")[2] for line in done[2:5]] == ["instance-store", "builds", "docker"]
