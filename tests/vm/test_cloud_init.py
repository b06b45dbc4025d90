"""The user data is something that cloud-init takes, and takes for the script that it is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.user_data import MAX_BYTES, SETTINGS, user_data

SCHEMA = "cloud-init's own schema command; 23 and later say of scripts that they are scripts, earlier ones refuse them"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "user-data"
    path.write_text(user_data(dict.fromkeys(SETTINGS, "x")))
    return path


def test_its_first_two_characters_say_what_it_is_and_it_is_short_enough(file: Path) -> None:
    """By these cloud-init tells a script, which it runs, from a configuration."""
    content = file.read_bytes()
    assert content.startswith(b"#!/usr/bin/env bash\n")
    assert len(content) <= MAX_BYTES


@pytest.mark.skipif(not os.environ.get("CLOUD_INIT") and shutil.which("cloud-init") is None, reason=SCHEMA)
def test_cloud_init_accepts_it(file: Path) -> None:
    program = os.environ.get("CLOUD_INIT") or "cloud-init"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    if int((version.stdout + version.stderr).split()[-1].partition(".")[0]) < 23:
        pytest.skip(SCHEMA)
    judged = subprocess.run([program, "schema", "--config-file", file], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "text/x-shellscript" in judged.stdout + judged.stderr
