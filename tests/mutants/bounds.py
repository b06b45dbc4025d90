"""Mutants of what counts for a maximum."""

from tests.mutants.mutant import Layer, one

_D = "functions/agent_stack/dispatcher"
_TESTS = "tests/unit/dispatcher"

MUTANTS = (
    one(
        Layer.CONTRACT,
        "keep the launch memory of before a lease was deleted",
        "functions/agent_stack/adapters/dynamodb/ledger.py",
        "if not kept and next(",
        "if kept and next(",
        "tests/contract/test_ledger.py::test_what_is_learnt_is_kept_after_somebody_has_deleted_the_lease",
    ),
    one(
        Layer.UNIT,
        "launch for jobs beyond MaxVcpus and the maximum of their class",
        f"{_D}/launch.py",
        "bounds.within(name, len(runs)),",
        "len(runs),",
        f"{_TESTS}/test_launch_maxima.py",
    ),
    one(
        Layer.UNIT,
        "count VMs on their way with the types that their class names by now",
        f"{_D}/cycle.py",
        "*self.types_on_their_way.get(name, ())",
        "",
        f"{_TESTS}/test_launch_maxima.py",
        f"{_TESTS}/test_admit.py",
    ),
    one(
        Layer.UNIT,
        "look for no VM that stands by for a class which wants none any more",
        f"{_D}/standby_pool.py",
        " or self._may_be_left(cycle)",
        "",
        f"{_TESTS}/test_standby_pool.py",
    ),
    one(
        Layer.UNIT,
        "end VMs that stand by for a job whose VM never fits into MaxVcpus",
        f"{_D}/preempt.py",
        "if not self.vcpu_room.ever_fits(name, cycle):",
        "if not name:",
        f"{_TESTS}/test_preempt.py",
    ),
    one(
        Layer.UNIT,
        "let a job wait for room that its VM never fits into",
        f"{_D}/admission.py",
        "        if size <= most:\n",
        "        if True:\n",
        f"{_TESTS}/test_admit.py",
    ),
    one(
        Layer.UNIT,
        "forget the VM of a job that is being finished",
        "functions/agent_stack/domain/runs.py",
        "self.failure_reason is None or self.binding is not None",
        "self.failure_reason is None",
        f"{_TESTS}/test_launch_maxima.py",
        f"{_TESTS}/test_admit.py",
    ),
    one(
        Layer.UNIT,
        "count a standby VM of an unknown type as nothing",
        f"{_D}/vcpu_cache.py",
        " or vm.vcpus or self.of(vm.class_name)",
        " or 0",
        f"{_TESTS}/test_standby_counts.py",
    ),
    one(
        Layer.UNIT,
        "forget what was asked for before in the same cycle",
        f"{_D}/launch_bounds.py",
        "self._asked[base_name(name)] += count",
        "pass",
        f"{_TESTS}/test_launch_maxima.py",
    ),
    one(
        Layer.UNIT,
        "let the deadline stand still while a job waits for one that only waits itself",
        f"{_D}/launch_bounds.py",
        "min(later.values()) > allowed",
        "True",
        f"{_TESTS}/test_launch_maxima.py",
    ),
    one(
        Layer.UNIT,
        "take a waiting run of a class for a VM that ends",
        f"{_D}/class_room.py",
        "up=sum(runs.values()) + standby",
        "up=len(runs) + standby",
        f"{_TESTS}/test_launch_maxima.py",
    ),
    one(
        Layer.UNIT,
        "take a waiting run for a VM whose end makes room in MaxVcpus",
        f"{_D}/vcpu_room.py",
        "for run in live if run.binding is not None and run.job_id not in besides",
        "for run in live if run.job_id not in besides",
        f"{_TESTS}/test_launch_maxima.py",
    ),
)
