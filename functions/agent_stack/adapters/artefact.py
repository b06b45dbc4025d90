"""What came with this code besides code."""

from pathlib import Path

from agent_stack.domain.programs import VmProgram


def shipped_program() -> VmProgram:
    """The boot program's second stage, as `scripts/generate` wrote it from infra/vm."""
    return VmProgram(text=Path(__file__).parents[1].joinpath("vm_program.sh").read_text(encoding="utf-8"))
