"""What a new process of a function imports: nothing of the other one, and nothing that is rare."""

import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


RARE = ["removal.terminate_all", "wiring.inspection", "wiring.stack_events", "adapters.cloudformation"]


@pytest.mark.parametrize(("name", "other"), [("dispatcher", "tracker"), ("tracker", "dispatcher")])
def test_a_process_imports_its_own_function_and_collects_garbage_afterwards(name: str, other: str) -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import handlers.{name}, gc, sys; print(gc.isenabled(), gc.get_freeze_count() > 0, *sys.modules)",
        ],
        cwd=FUNCTIONS,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert said[:2] == ["True", "True"]
    assert f"agent_stack.{name}.chain" in said
    unwanted = tuple(f"agent_stack.{module}" for module in (other, *RARE))
    assert [module for module in said if module.startswith(unwanted)] == []
