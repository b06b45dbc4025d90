"""The fake EC2's README shows another project how to use it: its example runs where the product cannot be found."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "tests/simulator/cloud/README.md"
WITHOUT_THE_PRODUCT = """
import sys
sys.modules |= dict.fromkeys(["agent_stack", "dispatcher", "tracker"])  # an import of one fails
"""


def example() -> str:
    (shown,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    return str(shown)


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PRODUCT + program],
        env={"PYTHONPATH": str(ROOT), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_example_runs_without_the_product() -> None:
    done = run(example())
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_says_something() -> None:
    assert run(example().replace("== 1", "== 2")).stderr.endswith("AssertionError\n")
    assert run("import agent_stack").returncode != 0


def test_the_example_is_about_ten_lines() -> None:
    assert len(example().strip().splitlines()) <= 12
