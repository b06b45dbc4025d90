"""Mutants of the conditions that keep standby VMs in order."""

from tests.mutants.mutant import Layer, one

_F = "functions/agent_stack"
_RECORDS = f"{_F}/adapters/dynamodb/standby.py"
_LIST = "tests/contract/test_standby_vms.py"
_PLAN = "tests/unit/domain/test_standby_plan.py"
_SCENES = "tests/scenario/test_standby.py"

MUTANTS = (
    one(
        Layer.CONTRACT,
        "close a VM that has a job",
        f"{_F}/adapters/dynamodb/run_writes.py",
        '        "ConditionExpression": "attribute_not_exists(instance_arn) OR attribute_exists(closed)",\n',
        "",
        _LIST,
    ),
    one(
        Layer.CONTRACT,
        "open a closed VM when it is listed again",
        _RECORDS,
        'values, condition="attribute_not_exists(pk)")',
        "values)",
        _LIST,
    ),
    one(
        Layer.UNIT,
        "replace all stale VMs at once",
        f"{_F}/domain/standby.py",
        "len(lasting) - min(1, stale)",
        "len(lasting) - stale",
        _PLAN,
    ),
    one(
        Layer.UNIT,
        "end a stale VM before its replacement is ready",
        f"{_F}/domain/standby.py",
        "ready = sum(vm.is_ready(self.now, self.lead) for vm in fresh[: self.wanted])",
        "ready = len(fresh[: self.wanted])",
        _PLAN,
    ),
    one(
        Layer.UNIT,
        "end a window before its local end when the clock goes back",
        f"{_F}/domain/standby_schedule.py",
        "max(closes.replace(fold=0).astimezone(UTC), closes.replace(fold=1).astimezone(UTC))",
        "closes.replace(fold=0).astimezone(UTC)",
        "tests/unit/domain/test_standby_schedule.py",
    ),
    one(
        Layer.UNIT,
        "count one VM that ended unprepared again and again",
        f"{_F}/domain/standby_trouble.py",
        "[one for one in ids if one not in self.counted]",
        "list(ids)",
        "tests/unit/domain/test_standby_trouble.py",
    ),
    one(
        Layer.UNIT,
        "give a run that lost a standby VM another one",
        f"{_F}/domain/standby_pairs.py",
        "if free and (run.may_stand_by or not only_standby):",
        "if free:",
        "tests/unit/domain/test_standby_pairs.py",
    ),
    one(
        Layer.UNIT,
        "take a booting standby VM beside the one that comes",
        f"{_F}/domain/standby_pairs.py",
        "_served(others[coming:], supply.booting",
        "_served(others, supply.booting",
        "tests/unit/domain/test_standby_pairs.py",
    ),
    one(
        Layer.SCENARIO,
        "terminate idle VMs that nobody closed",
        f"{_F}/tracker/orphan_cleanup.py",
        "if vm.instance_id in owned or cycle.stands_by(vm):",
        "if vm.instance_id in owned:",
        _SCENES,
        "-k",
        "no_tracker_busy",
    ),
    one(
        Layer.UNIT,
        "count no standby VMs before a launch",
        f"{_F}/dispatcher/launch_room.py",
        "| idle | cycle.standby_ids",
        "| idle",
        "tests/unit/dispatcher/test_launch_room.py",
    ),
    one(
        Layer.SCENARIO,
        "count a job's lifetime from its VM's launch",
        f"{_F}/tracker/cycle.py",
        "one: vm.launched_at if vm.hold is None else bound.get(one) or vm.launched_at + vm.hold",
        "one: vm.launched_at",
        _SCENES,
        "-k",
        "whole_lifetime",
    ),
    one(
        Layer.SCENARIO,
        "launch VMs to stand by while jobs wait for a place",
        f"{_F}/dispatcher/standby_room.py",
        "if any(reason in SHARED for _, reason in cycle.lacking):",
        "if not cycle.book:",
        _SCENES,
        "-k",
        "wait_for_a_place",
    ),
    one(
        Layer.SCENARIO,
        "keep the tracker busy with idle VMs",
        f"{_F}/tracker/cycle.py",
        "vm.state in UP and not self.stands_by(vm) and",
        "vm.state in UP and",
        _SCENES,
        "-k",
        "no_tracker_busy",
    ),
    one(
        Layer.UNIT,
        "wait for a dead standby VM as long as for a boot",
        f"{_F}/domain/situations.py",
        "return max(STANDBY_TIMEOUT, prepared_at - self.run.state_entered_at)",
        "return self.boot_timeout",
        "tests/unit/domain/test_standby_timeout.py",
    ),
)
