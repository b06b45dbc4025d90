"""Mutants of the limits of DynamoDB, EC2 and Buildkite."""

from tests.mutants.mutant import Layer, one

_A = "functions/agent_stack/adapters"
_LIMITS = "tests/contract/test_limits.py"
_DOUBT = "tests/contract/test_doubt.py"
_C = Layer.CONTRACT

MUTANTS = (
    one(
        _C,
        "read the first page of a partition only",
        f"{_A}/dynamodb/table.py",
        'return found, json.dumps(items_of([next_key])[0]) if next_key else ""',
        'return found, ""',
        f"{_LIMITS}::test_every_page_of_a_partition_is_read",
    ),
    one(
        _C,
        "forget keys that were left unprocessed",
        f"{_A}/dynamodb/table.py",
        "left = page.unprocessed",
        "left = ()",
        _LIMITS,
    ),
    one(
        _C,
        "take keys that stay unprocessed for missing items",
        f"{_A}/dynamodb/table.py",
        'raise RetryError(f"BatchGetItem:',
        'RetryError(f"BatchGetItem:',
        _LIMITS,
    ),
    one(
        _C,
        "query without consistency",
        f"{_A}/dynamodb/table.py",
        '"ConsistentRead": True,\n            "KeyConditionExpression"',
        '"ConsistentRead": False,\n            "KeyConditionExpression"',
        f"{_LIMITS}::test_every_read_is_consistent",
    ),
    one(
        _C,
        "read batches without consistency",
        f"{_A}/dynamodb/table.py",
        '"Keys": list(left), "ConsistentRead": True',
        '"Keys": list(left)',
        f"{_LIMITS}::test_every_read_is_consistent",
    ),
    one(
        _C,
        "read 1,000 keys at once",
        f"{_A}/dynamodb/table.py",
        "KEYS_OF_A_BATCH = 100",
        "KEYS_OF_A_BATCH = 1000",
        f"{_LIMITS}::test_no_batch_has_more_keys_than_dynamodb_takes",
    ),
    one(
        _C,
        "write 1,000 items at once",
        f"{_A}/dynamodb/transactions.py",
        "WRITES_OF_A_TRANSACTION = 100",
        "WRITES_OF_A_TRANSACTION = 1000",
        f"{_LIMITS}::test_no_transaction_has_more_writes_than_dynamodb_takes",
    ),
    one(
        _C,
        "count attempts for two minutes",
        f"{_A}/dynamodb/run_writes.py",
        "TOMBSTONE_LIFE = timedelta(days=2)",
        "TOMBSTONE_LIFE = timedelta(minutes=2)",
        f"{_LIMITS}::test_attempts_are_counted_for_longer_than_buildkite_keeps_a_job_scheduled",
    ),
    one(
        _C,
        "expire tombstones in milliseconds",
        f"{_A}/dynamodb/run_writes.py",
        '":expires_at": int(items.seconds(now + TOMBSTONE_LIFE)),',
        '":expires_at": int(items.seconds(now + TOMBSTONE_LIFE)) * 1000,',
        f"{_LIMITS}::test_what_expires_does_so_in_seconds_since_1970_and_no_sooner_than_it_is_needed",
    ),
    one(
        _C,
        "expire history at once",
        f"{_A}/dynamodb/run_writes.py",
        '"expires_at": int(items.seconds(now + history)),',
        '"expires_at": int(items.seconds(now)),',
        f"{_LIMITS}::test_what_expires_does_so_in_seconds_since_1970_and_no_sooner_than_it_is_needed",
    ),
    one(
        _C,
        "expire mailboxes in milliseconds",
        f"{_A}/dynamodb/items.py",
        '"expires_at": int(seconds(assignment.expires_at)),',
        '"expires_at": int(seconds(assignment.expires_at) * 1000),',
        f"{_LIMITS}::test_what_expires_does_so_in_seconds_since_1970_and_no_sooner_than_it_is_needed",
    ),
    one(
        _C,
        "name 1,000 values in a filter",
        f"{_A}/ec2/fleet.py",
        "MAX_FILTER_VALUES = 200",
        "MAX_FILTER_VALUES = 1000",
        _DOUBT,
    ),
    one(_C, "ask EC2 for pages of 2,000", f"{_A}/ec2/fleet.py", "PAGE = 1000", "PAGE = 2000", _DOUBT),
    one(
        _C,
        "read the first page of instances only",
        f"{_A}/pages.py",
        "        if not token:\n            return\n",
        "        return\n",
        "tests/contract/test_fleet.py",
        "-k",
        "every_page",
    ),
    one(
        _C,
        "send 2,500 ids to Buildkite at once",
        f"{_A}/stacks_api/limits.py",
        "MAX_IDS = 1000",
        "MAX_IDS = 2500",
        "tests/contract/test_stacks_api_faults.py",
        "-k",
        "chunk",
    ),
)
