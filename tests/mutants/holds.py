"""Mutants of holds: VMs whose boot failed and that stay up for a person."""

from tests.mutants.mutant import Layer, one

_DOMAIN = "functions/agent_stack/domain/holds.py"
_STEP = "functions/agent_stack/tracker/hold_failed_vms.py"
_CLEANUP = "functions/agent_stack/tracker/orphan_cleanup.py"
_WHICH = "tests/unit/domain/test_holds.py"
_TRACKED = "tests/unit/tracker/test_hold_failed_vms.py"
_ROLES = "tests/infra/test_roles.py"

_CONDITIONS = {
    "that its decision does not end": "        ends_the_vm(decision.action)\n        and ",
    "whatever failed": "        and decision.failure.kind is FailureKind.BOOT_PROGRAM\n",
    "under the run of an agent": "        and s.run.state is RunState.BOOTING\n",
    "that took its credential": "        and s.run.credential_holder is CredentialHolder.TRACKER\n",
    "that does not wait for it": "        and status.waits\n",
    "that EC2 ends": "        and s.vm.state is VmState.RUNNING\n",
    "that is a spot VM": "        and s.vm.capacity_type is CapacityType.ON_DEMAND\n",
    "whose lifetime is over": "        and hold_end(s) - s.now >= SHORTEST_HOLD\n",
}
"""What a VM is held in spite of, and the condition that is taken away."""


MUTANTS = (
    *(
        one(
            Layer.UNIT,
            f"hold a VM {what}",
            _DOMAIN,
            condition,
            "        " if condition.endswith("and ") else "",
            _WHICH,
        )
        for what, condition in _CONDITIONS.items()
    ),
    one(
        Layer.UNIT,
        "hold every VM of a class",
        _DOMAIN,
        "len(self.vms) < MAX_HELD and all(hold.class_name != class_name for hold in self.vms)",
        "len(self.vms) < MAX_HELD",
        _WHICH,
    ),
    one(Layer.UNIT, "hold any number of VMs", _DOMAIN, "len(self.vms) < MAX_HELD and all", "all", _WHICH),
    one(
        Layer.UNIT,
        "hold a VM past its lifetime",
        _DOMAIN,
        "end if since is None else min(end, since + s.policy.max_lifetime)",
        "end",
        _WHICH,
    ),
    one(
        Layer.UNIT,
        "count each class that jobs choose anew",
        _STEP,
        "name = base_name(s.run.class_name)",
        "name = s.run.class_name",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "terminate a held VM with its run",
        "functions/agent_stack/tracker/terminate.py",
        "if cycle.is_held(verdict.run.binding.instance_id):",
        "if False:",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "tell a VM of its hold before its run is settled",
        _STEP,
        "if hold.instance_id in owned or left <= 0:",
        "if left <= 0:",
        _TRACKED,
    ),
    one(Layer.UNIT, "hold VMs in a full stack", _STEP, " >= self.policy.max_instances", " < 0", _TRACKED),
    one(
        Layer.UNIT,
        "hold VMs while jobs wait for their room",
        _STEP,
        "job.reason in WANT_OF_ROOM for job",
        "job.reason in set() for job",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "ask whether jobs wait for room only where a VM is held already",
        _STEP,
        "if left.vms or candidates else Need.NONE",
        "if left.vms else Need.NONE",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "forget a hold whose run is not settled",
        _STEP,
        "s.run.state is RunState.BOOTING and s.run.credential_holder is CredentialHolder.TRACKER",
        "s.run.finishing_at is not None",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "take a held VM for surplus when holds cannot be read",
        _CLEANUP,
        "[] if cycle.held is None else self.surplus_vms(cycle, owned | cycle.held.keys())",
        "self.surplus_vms(cycle, owned | (cycle.held or {}).keys())",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "keep the place of a VM that ended",
        _STEP,
        "left = known.without(self._ended(known, cycle))",
        "left = known",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "give a place away because EC2 shows nothing",
        _STEP,
        "if vm is not None else hold.until <= cycle.now:",
        "if vm is not None else True:",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "stop the cycle when holds cannot be read",
        _STEP,
        "        except AgentStackError as error:  # a hold is a convenience: it stops nothing\n",
        "        except ZeroDivisionError as error:\n",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "take held VMs for orphans when holds cannot be read",
        _CLEANUP,
        "        if cycle.held is None:\n            return",
        "        if cycle.held is None and age.days > 1:\n            return",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "take a held VM for an orphan",
        _CLEANUP,
        'return HOLD_OVER if cycle.held[vm.instance_id].until <= cycle.now else ""',
        "return HOLD_OVER if cycle.held[vm.instance_id].until <= cycle.now else ORPHAN",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "take a held VM for surplus",
        _CLEANUP,
        "owned | cycle.held.keys()",
        "owned",
        _TRACKED,
    ),
    one(
        Layer.UNIT,
        "go on with cycles while a VM is held",
        "functions/agent_stack/tracker/cycle.py",
        "not self.stands_by(vm) and vm.instance_id not in self.resting for vm",
        "not self.stands_by(vm) for vm",
        "tests/scenario/test_hold.py",
        "-k",
        "goes_home",
    ),
    one(
        Layer.UNIT,
        "bind jobs to held VMs",
        "functions/agent_stack/dispatcher/recover.py",
        "if intent.spent or self.policy.hold_on_failure:",
        "if False:",
        "tests/unit/dispatcher/test_recover.py",
    ),
    one(
        Layer.CONTRACT,
        "record holds over another tracker's",
        "functions/agent_stack/adapters/dynamodb/ledger.py",
        'condition="attribute_not_exists(version) OR version = :before",',
        'condition="attribute_not_exists(version) OR version > :before OR version <= :before",',
        "tests/contract/test_holds.py",
    ),
    one(
        Layer.CONTRACT,
        "tell a VM of its hold that took its credential",
        "functions/agent_stack/adapters/dynamodb/mailbox.py",
        "attribute_exists(revoked) AND attribute_not_exists(credential)",
        "attribute_exists(instance_arn) AND attribute_not_exists(credential)",
        "tests/contract/test_mailbox.py",
    ),
    one(
        Layer.CONTRACT,
        "tell a VM of its hold whose credential lies in its mailbox",
        "functions/agent_stack/adapters/dynamodb/mailbox.py",
        'ConditionExpression="attribute_exists(revoked) AND attribute_not_exists(credential)",',
        'ConditionExpression="attribute_exists(instance_arn)",',
        "tests/contract/test_mailbox.py",
    ),
    one(
        Layer.INFRA,
        "let a VM write its own hold",
        "template.yaml",
        "dynamodb:Attributes: [instance_arn, credential, stage, stage_seconds, detail]",
        "dynamodb:Attributes: [instance_arn, credential, stage, stage_seconds, detail, hold_seconds]",
        _ROLES,
    ),
    one(
        Layer.INFRA,
        "let no VM read its hold",
        "template.yaml",
        "agent_name, credential_kind, hold_seconds]",
        "agent_name, credential_kind]",
        _ROLES,
    ),
    one(
        Layer.SIMULATION,
        "let held VMs stay for ever",
        _CLEANUP,
        "return HOLD_OVER if cycle.held",
        'return "" if cycle.held',
        "I3",
    ),
)
