"""Which fault has hit a run in which state: what many worlds together have tried, and what they have not.

A fault of a service or a process hits every run there is at that moment; one of a VM or a job, its own run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent_stack.domain.runs import Run
from agent_stack.domain.states import RunState

if TYPE_CHECKING:
    from tests.simulator.memory import Store

RESERVED, BOOTING, TAKEN, RUNNING, FINISHING = "reserved", "booting", "credential taken", "running", "finishing"
STATES = (RESERVED, BOOTING, TAKEN, RUNNING, FINISHING)

OF_SERVICES = (
    "dispatcher dies",
    "tracker dies",
    "dispatcher's records are refused",
    "tracker's records are refused",
    "dispatcher's record: answer lost",
    "tracker's record: answer lost",
    "records in conflict",
    "Buildkite: refused",
    "Buildkite: not arrived",
    "Buildkite: answer lost",
    "Buildkite: answer cut",
    "Buildkite: answer late",
    "EC2: throttled",
    "EC2: server error",
    "EC2: answer lost",
    "EC2: launches nothing",
    "EC2: refused",
    "queue paused",
)
OF_VMS = (
    "host lost",
    "spot taken back",
    "VM dies",
    "VM hangs",
    "boot program fails",
    "credential lost on its way",
    "agent cannot start",
    "news lost",
    "news doubled",
)
OF_JOBS = ("job cancelled",)
FAULTS = OF_SERVICES + OF_VMS + OF_JOBS

_NO_VM = "no VM is bound"
_ENDS_FIRST = "a finish is decided once its VM has failed or was ended"
_HANGING = "a VM that hangs never takes the credential"
_BEFORE = "happens before the credential is taken"
_TAKING = "happens while the credential is taken"

UNREACHABLE: Mapping[tuple[str, str], str] = {
    **{(fault, RESERVED): _NO_VM for fault in OF_VMS},
    **{("VM hangs", state): _HANGING for state in (TAKEN, RUNNING)},
    ("VM hangs", FINISHING): "it hung while it booted",
    **{("boot program fails", state): _BEFORE for state in (TAKEN, RUNNING)},
    ("boot program fails", FINISHING): _ENDS_FIRST,
    **{("credential lost on its way", state): _TAKING for state in (BOOTING, RUNNING)},
    ("credential lost on its way", FINISHING): _ENDS_FIRST,
    **{("agent cannot start", state): "happens before an agent has the job" for state in (BOOTING, RUNNING)},
    ("agent cannot start", FINISHING): _ENDS_FIRST,
    ("spot taken back", FINISHING): _ENDS_FIRST,
}
"""Cells that no world can fill, and why."""

SELDOM = frozenset({("VM dies", FINISHING), ("host lost", FINISHING)})
"""Cells that one world in a thousand fills: the VM of a failed boot is held for a person while its run is finished."""


def job_phase(run: Run, store: "Store") -> str:
    """Where a run is, in the matrix's words."""
    if run.finishing_at is not None:
        return FINISHING
    if run.state is RunState.BOOTING and run.binding is not None:
        box = store.boxes.get(run.binding.arn)
        return TAKEN if box is not None and box.credential is None and not box.revoked else BOOTING
    return RUNNING if run.state is RunState.RUNNING else RESERVED


@dataclass(slots=True, kw_only=True)
class Coverage:
    """What hit what, in one world or in many."""

    hits: Counter[tuple[str, str]] = field(default_factory=Counter)

    def everywhere(self, fault: str, store: "Store") -> None:
        """It hits every run there is."""
        for state in {job_phase(run, store) for run in store.runs.values()}:
            self.hits[fault, state] += 1

    def at_vm(self, fault: str, instance_id: str, store: "Store") -> None:
        """It hits the run that is bound to that VM, if one is."""
        for run in store.runs.values():
            if run.binding is not None and run.binding.instance_id == instance_id:
                self.hits[fault, job_phase(run, store)] += 1

    def at_job(self, fault: str, job_id: str, store: "Store") -> None:
        """It hits that job's run, if it has one."""
        run = next((run for run in store.runs.values() if run.job_id == job_id), None)
        if run is not None:
            self.hits[fault, job_phase(run, store)] += 1


def empty_cells(hits: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Cells that can be reached and were not."""
    return [
        (fault, state)
        for fault in FAULTS
        for state in STATES
        if not hits.get((fault, state)) and (fault, state) not in UNREACHABLE.keys() | SELDOM
    ]


def wrongly_unreachable(hits: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Cells that were said to be out of reach and were reached."""
    return [cell for cell in UNREACHABLE if hits.get(cell)]


def table(hits: Mapping[tuple[str, str], int]) -> Iterable[str]:
    """The matrix, line by line, and why cells are out of reach."""
    yield f"{'':34}" + "".join(f"{state:>18}" for state in STATES)
    for fault in FAULTS:
        cells = (
            str(hits.get((fault, state), 0)) if (fault, state) not in UNREACHABLE or hits.get((fault, state)) else "-"
            for state in STATES
        )
        yield f"{fault:34}" + "".join(f"{cell:>18}" for cell in cells)
    reasons: dict[str, list[str]] = {}
    for (fault, state), reason in UNREACHABLE.items():
        reasons.setdefault(reason, []).append(f"{fault} in {state}")
    for reason, cells_of in reasons.items():
        yield f"-  {reason}: {', '.join(cells_of)}"
