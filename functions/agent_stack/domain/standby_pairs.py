"""Which of the runs of one class gets which VM: one that is ready, one that comes, or one that is to be asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Vm


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The VMs of one class that have no job.

    Attributes:
        ready: standby VMs that are prepared, in the order in which jobs take them.
        idle: VMs that were launched for jobs, the oldest first.
        coming: VMs that were asked for because of jobs, and are not there yet.
        booting: standby VMs that prepare themselves.
    """

    ready: Sequence[Vm] = ()
    idle: Sequence[Vm] = ()
    coming: int = 0
    booting: Sequence[Vm] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """What becomes of the runs of one class.

    Attributes:
        pairs: runs and their VMs.
        missing: runs for which another VM is to be asked for.
    """

    pairs: tuple[tuple[Run, Vm], ...]
    missing: tuple[Run, ...]


def paired(runs: Sequence[Run], supply: Supply) -> Pairing:
    """The runs, in order, with their VMs.

    A standby VM that boots is taken only by a run that no VM comes for: otherwise both would boot for one job.
    """
    pairs: list[tuple[Run, Vm]] = []
    left = _served(runs, supply.ready, pairs, only_standby=True)
    left = _served(left, supply.idle, pairs)
    alone = [run for run in left if not run.may_stand_by]  # what comes is for those first that cannot have another
    others = [run for run in left if run.may_stand_by]
    coming = max(0, supply.coming - len(alone))
    booting = _served(others[coming:], supply.booting, pairs, only_standby=True)
    waits_in_vain = {run.job_id for run in (*alone[supply.coming :], *booting)}
    return Pairing(pairs=tuple(pairs), missing=tuple(run for run in runs if run.job_id in waits_in_vain))


def _served(
    runs: Sequence[Run], vms: Sequence[Vm], pairs: list[tuple[Run, Vm]], *, only_standby: bool = False
) -> list[Run]:
    """The runs that get none of these VMs; adds the others to `pairs`."""
    free = list(reversed(vms))
    left = []
    for run in runs:
        if free and (run.may_stand_by or not only_standby):
            pairs.append((run, free.pop()))
        else:
            left.append(run)
    return left
