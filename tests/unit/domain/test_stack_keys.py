"""Which key a queue's stack has: it never changes, and those of new deployments are nobody else's."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.domain.identifiers import QueueKey, StackKey
from agent_stack.domain.stack_keys import MAX_STACK_KEY_BYTES, StackKeyNames, StackKeyRecord
from agent_stack.stack_keys import StackKeys
from tests.simulator.memory import MemoryLedger, Store

ARM, LINUX_ARM = QueueKey("arm"), QueueKey("linux-arm")
CI = StackKeyNames(prefix="ci", deployment="aws:123456789012:eu-central-1:ci")
CI_LINUX = StackKeyNames(prefix="ci-linux", deployment="aws:123456789012:eu-central-1:ci-linux")
NAMES = st.text(alphabet="abcAB01._-", min_size=1, max_size=70)


def of(names: StackKeyNames, store: Store) -> StackKeys:
    """As a process that knows nothing yet has it."""
    return StackKeys(names=names, ledger=MemoryLedger(store=store))


def test_keys_of_new_deployments_that_would_be_one_are_two() -> None:
    one, other = Store(), Store()
    of(CI, one).begin()
    of(CI_LINUX, other).begin()
    assert of(CI, one)(LINUX_ARM) != of(CI_LINUX, other)(ARM)
    elsewhere = replace(CI, deployment="aws:123456789012:us-east-1:ci")
    assert of(CI, one)(ARM) != of(elsewhere, one)(ARM)


def test_a_deployment_without_a_record_keeps_its_short_keys_for_ever() -> None:
    store = Store()
    of(CI, store).keep([LINUX_ARM], also={})
    of(CI, store).begin()  # whatever CloudFormation sends
    assert of(CI, store)(LINUX_ARM) == "ci-linux-arm"
    assert of(CI, store)(ARM) == "ci-arm", "and so have the queues that it gets later"


def test_a_recorded_key_stays_whatever_names_keys_today() -> None:
    store = Store(stack_keys=StackKeyRecord(prefix="ci", long=True, keys={ARM: StackKey("as-it-was")}))
    assert of(CI, store)(ARM) == "as-it-was"


def test_a_new_stack_key_of_the_operators_names_all_anew_and_retires_the_old_ones() -> None:
    store = Store()
    of(CI, store).keep([ARM, LINUX_ARM], also={})
    renamed = of(replace(CI, prefix="other"), store)
    assert renamed(ARM) == "other-arm"
    assert set(renamed.retired([ARM, LINUX_ARM])) == {"ci-arm", "ci-linux-arm"}


def test_a_key_that_is_still_used_is_not_retired_under_another_queue() -> None:
    store = Store()
    of(CI, store).keep([QueueKey("a.b")], also={})
    assert of(CI, store).retired([QueueKey("a-b")]) == {}


@pytest.mark.parametrize("long", [False, True])
def test_a_record_is_written_only_when_it_changes(long: bool) -> None:  # noqa: FBT001  (a case)
    store = Store(stack_keys=StackKeyRecord(prefix="ci", long=long))
    of(CI, store).keep([ARM], also={})
    recorded = store.stack_keys
    of(CI, store).keep([ARM], also={})
    assert store.stack_keys is recorded
    assert recorded is not None
    assert recorded.long is long


@given(prefix=NAMES, queue=NAMES, other_prefix=NAMES, other_queue=NAMES)
def test_long_keys_are_valid_and_those_of_two_stacks_differ(
    prefix: str, queue: str, other_prefix: str, other_queue: str
) -> None:
    keys = [
        replace(CI, prefix=name.replace(".", "")).long_key(QueueKey(key))
        for name, key in ((prefix, queue), (other_prefix, other_queue))
    ]
    for key in keys:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", key)
        assert len(key.encode()) <= MAX_STACK_KEY_BYTES
    same = (prefix.replace(".", ""), queue) == (other_prefix.replace(".", ""), other_queue)
    assert (keys[0] == keys[1]) == same
