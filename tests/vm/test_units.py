"""The units that the boot program starts are such as systemd takes, and get from a local VM what systemd gives."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.simulator.vm.process import LocalVm
from tests.simulator.vm.units import UnitRequest, parse_systemd_run
from tests.vm.harness import NOWHERE, Launched, VmHarness

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here to ask")
def test_systemd_finds_nothing_wrong_with_them(harness: VmHarness, tmp_path: Path) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0401", job_id, token)
    vm = harness.boot("i-0401")
    harness.ended(vm)
    started = [parse_systemd_run(shlex.split(line)[1:]) for line in vm.effects() if line.startswith("systemd-run ")]
    assert [unit.name for unit in started] == ["agent-stack-lifetime", "agent-stack-boot", "agent-stack-agent"]
    paths = [tmp_path / f"{unit.name}.service" for unit in started]
    for unit, path in zip(started, paths, strict=True):
        path.write_text(_as_file(unit))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    complaints = [line for line in verified.stderr.splitlines() if "agent-stack" in line]
    assert complaints == []


BINDS = """#!/bin/bash
bind='import os, socket
for name in ("RUNTIME", "STATE", "CACHE"):
    directory = os.environ[f"{name}_DIRECTORY"] + "/private"
    os.mkdir(directory)
    socket.socket(socket.AF_UNIX).bind(directory + "/ssh")'
systemd-run -q -u it --wait -p RuntimeDirectory=it -p StateDirectory=it -p CacheDirectory=it python3 -I -c "$bind"
systemctl poweroff
"""


def test_a_socket_fits_into_a_units_directories_however_deep_the_vm_lies(tmp_path: Path) -> None:
    vm = LocalVm.start(
        instance=Launched(instance_id="i-0402", user_data=BINDS.encode()),
        directory=tmp_path / ("deep" * 30),
        imds_url=NOWHERE,
        environment={},
        agent_binary=None,
        on_poweroff=lambda: None,
    )
    try:
        assert vm.join(20), vm.console()
    finally:
        vm.stop()
    assert len([*vm.directory.glob("**/it/private/ssh")]) == 3, vm.console()


UNIT_SECTION = {"After", "SuccessAction", "FailureAction"}


def _as_file(unit: UnitRequest) -> str:
    """The unit as a file, which `systemd-analyze verify` can read and a transient one is not."""
    sections: dict[str, list[str]] = {"Unit": [], "Service": []}
    for name, value in unit.properties.items():
        if name == "User":  # the image's, and not of this machine
            continue
        sections["Unit" if name in UNIT_SECTION else "Service"].append(f"{name}={value}")
    command = "/bin/true" if unit.command[0] == "systemctl" or not Path(unit.command[0]).exists() else unit.command[0]
    sections["Service"].append(f"ExecStart={command}")
    return "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())
