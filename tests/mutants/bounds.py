"""Mutants of what counts for a maximum."""

from tests.mutants.mutant import Layer, one

_D = "functions/agent_stack/dispatcher"
_TESTS = "tests/unit/dispatcher"

MUTANTS = (
    one(
        Layer.UNIT,
        "take an intent that was not written for one that the look has counted",
        f"{_D}/vm_count.py",
        "launched.vms - (self.in_flight.vms_doubtful - self._counted.doubtful)",
        "launched.vms",
        f"{_TESTS}/test_vm_count.py",
    ),
)
