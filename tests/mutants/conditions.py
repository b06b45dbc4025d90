"""Mutants of the conditions under which something is written."""

from tests.mutants.mutant import Layer, one

_D = "functions/agent_stack/adapters/dynamodb"
_LEDGER = "tests/contract/test_ledger.py"
_DYNAMO = "tests/contract/test_dynamodb.py"
_MAILBOX = "tests/contract/test_mailbox.py"
_LEASE = "tests/contract/test_lease.py"
_DOUBT = "tests/contract/test_doubt.py"
_C = Layer.CONTRACT

MUTANTS = (
    one(
        _C,
        "update whatever version stands there",
        f"{_D}/run_writes.py",
        'return [self._update(run, write_id, "version = :before")]',
        'return [self._update(run, write_id, "version <> :before OR version = :before")]',
        _LEDGER,
        _DYNAMO,
    ),
    one(
        _C,
        "write what changed on an item that is not the one we know",
        f"{_D}/run_writes.py",
        'condition += " AND write_id = :signature"',
        'condition += " AND (write_id = :signature OR attribute_exists(pk))"',
        _DYNAMO,
    ),
    one(
        _C,
        "record a job twice",
        f"{_D}/run_writes.py",
        'return [put(self.table, values, condition="attribute_not_exists(pk)")]',
        "return [put(self.table, values)]",
        _LEDGER,
    ),
    one(
        _C,
        "end a run that another wrote since",
        f"{_D}/run_writes.py",
        '"ConditionExpression": "version = :before",',
        '"ConditionExpression": "version = :before OR version <> :before",',
        _LEDGER,
        "-k",
        "end",
    ),
    one(
        _C,
        "put a second assignment into a mailbox",
        f"{_D}/run_writes.py",
        '            "ConditionExpression": "attribute_not_exists(instance_arn)",\n',
        "",
        _LEDGER,
    ),
    one(
        _C,
        "launch under an old fencing number",
        f"{_D}/ledger.py",
        '"ConditionExpression": "fence = :fence",',
        '"ConditionExpression": "fence >= :fence",',
        _LEDGER,
    ),
    one(
        _C,
        "let a run without a VM lower the attempts",
        f"{_D}/run_writes.py",
        '"if_not_exists(attempts, :attempts)"',
        '":attempts"',
        _LEDGER,
    ),
    one(
        _C,
        "forget that a cancelled transaction had our write",
        f"{_D}/transactions.py",
        "            sent.won.add(group.write_id)\n",
        "            pass\n",
        _DYNAMO,
    ),
    one(
        _C,
        "take a refused write in doubt for refused",
        f"{_D}/transactions.py",
        "elif group.write_id in doubted:",
        "elif False:",
        _DOUBT,
    ),
    one(
        _C,
        "tell a job the same reason twice",
        f"{_D}/waiting.py",
        '"(NOT contains(reasons, :reason) AND size(reasons) < :most)",',
        '"((contains(reasons, :reason) OR NOT contains(reasons, :reason)) AND size(reasons) < :most)",',
        _LEDGER,
    ),
    one(
        _C,
        "renew a credential that was taken",
        f"{_D}/mailbox.py",
        'UpdateExpression="SET credential = :credential",\n            ConditionExpression="attribute_exists(credential)",',  # noqa: E501
        'UpdateExpression="SET credential = :credential",\n            ConditionExpression="attribute_exists(instance_arn)",',  # noqa: E501
        _MAILBOX,
    ),
    one(
        _C,
        "issue a credential again that we took back",
        f"{_D}/mailbox.py",
        " AND attribute_not_exists(revoked) AND stage",
        " AND stage",
        _MAILBOX,
    ),
    one(
        _C,
        "issue a credential again once too often",
        f"{_D}/mailbox.py",
        "OR reissues < :most)",
        "OR reissues <= :most)",
        _MAILBOX,
    ),
    one(
        _C,
        "take back a credential without a mark",
        f"{_D}/mailbox.py",
        "return answer.item is not None and items.holder(answer.item) is CredentialHolder.TRACKER",
        "return False",
        _MAILBOX,
    ),
    one(
        _C,
        "take a renewal in doubt for refused",
        f"{_D}/mailbox.py",
        '            raise UnknownOutcomeError("UpdateItem: a credential may have been renewed before the VM took it")\n',  # noqa: E501
        "            return False\n",
        _DOUBT,
    ),
    one(
        _C,
        "release a lease that somebody has signalled",
        f"{_D}/lease.py",
        "holder = :holder AND fence = :fence AND wakes = :wakes",
        "holder = :holder AND fence = :fence AND (wakes = :wakes OR wakes <> :wakes)",
        _LEASE,
    ),
    one(
        _C,
        "renew a lease that another holds",
        f"{_D}/lease.py",
        '"holder = :holder AND fence = :fence",\n            {":until"',
        '"holder = :holder OR fence <> :fence",\n            {":until"',
        _LEASE,
    ),
    one(
        _C,
        "read a stored lease with a fence that stands still",
        f"{_D}/lease.py",
        "fence = if_not_exists(fence, :zero) + :one, ",
        "fence = if_not_exists(fence, :one), ",
        _LEASE,
    ),
)
