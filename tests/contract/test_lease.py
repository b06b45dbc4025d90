"""What a shift may expect of the lease."""

from datetime import timedelta

from agent_stack.domain.identifiers import QueueKey
from tests.contract.tables import AnyTables
from tests.simulator.clock import EPOCH

TTL = timedelta(seconds=9)


def test_one_holds_it_at_a_time(tables: AnyTables) -> None:
    lease = tables.dispatcher_lease
    assert lease.acquire("first", now=EPOCH, ttl=TTL) is not None
    assert lease.acquire("second", now=EPOCH, ttl=TTL) is None


def test_its_holder_may_take_it_again_under_a_new_number_because_an_answer_may_be_lost(
    tables: AnyTables,
) -> None:
    lease = tables.dispatcher_lease
    first = lease.acquire("first", now=EPOCH, ttl=TTL)
    again = lease.acquire("first", now=EPOCH, ttl=TTL)
    assert first is not None
    assert again is not None
    assert again.fence > first.fence
    assert lease.renew(first, now=EPOCH, ttl=TTL) is None


def test_the_fence_grows_with_every_holder(tables: AnyTables) -> None:
    lease = tables.dispatcher_lease
    first = lease.acquire("first", now=EPOCH, ttl=TTL)
    assert first is not None
    assert lease.release(first)
    second = lease.acquire("second", now=EPOCH, ttl=TTL)
    assert second is not None
    assert second.fence > first.fence


def test_a_lease_that_ran_out_is_taken_over_and_lost_to_the_first(tables: AnyTables) -> None:
    lease = tables.dispatcher_lease
    first = lease.acquire("first", now=EPOCH, ttl=TTL)
    assert first is not None
    assert lease.acquire("second", now=EPOCH + TTL, ttl=TTL) is not None
    assert lease.renew(first, now=EPOCH + TTL, ttl=TTL) is None


def test_a_knock_is_never_lost(tables: AnyTables) -> None:
    lease = tables.dispatcher_lease
    held = lease.acquire("first", now=EPOCH, ttl=TTL)
    assert held is not None
    lease.signal("second", handover=False)
    assert not lease.release(held)
    again = lease.renew(held, now=EPOCH, ttl=TTL)
    assert again is not None
    assert again.signals == held.signals + 1
    assert again.successor is None
    assert lease.release(again)


def test_a_successor_of_a_holder_that_died_is_forgotten_when_it_took_over(tables: AnyTables) -> None:
    lease = tables.dispatcher_lease
    assert lease.acquire("first", now=EPOCH, ttl=TTL) is not None
    lease.signal("second", handover=True)
    followed = lease.acquire("second", now=EPOCH + TTL, ttl=TTL)
    assert followed is not None
    assert followed.successor is None


def test_a_successor_is_seen_and_forgotten_when_it_took_over(tables: AnyTables) -> None:
    lease = tables.dispatcher_lease
    held = lease.acquire("first", now=EPOCH, ttl=TTL)
    assert held is not None
    lease.signal("second", handover=True)
    seen = lease.renew(held, now=EPOCH, ttl=TTL)
    assert seen is not None
    assert seen.successor == "second"
    assert lease.release(seen)
    followed = lease.acquire("second", now=EPOCH, ttl=TTL)
    assert followed is not None
    assert followed.successor is None


def test_releasing_what_another_holds_changes_nothing(tables: AnyTables) -> None:
    lease = tables.dispatcher_lease
    first = lease.acquire("first", now=EPOCH, ttl=TTL)
    assert first is not None
    assert lease.acquire("second", now=EPOCH + TTL, ttl=TTL) is not None
    assert lease.release(first)
    assert lease.acquire("third", now=EPOCH + TTL, ttl=TTL) is None


def test_a_knock_before_anybody_ever_worked_does_no_harm(tables: AnyTables) -> None:
    tables.dispatcher_lease.signal("early", handover=False)
    assert tables.dispatcher_lease.acquire("first", now=EPOCH, ttl=TTL) is not None


def test_what_an_operator_paused_comes_with_the_lease_and_outlives_it(tables: AnyTables) -> None:
    tables.operator_pauses("default", EPOCH)
    tables.operator_pauses("*", EPOCH + TTL)
    lease = tables.dispatcher_lease
    held = lease.acquire("first", now=EPOCH, ttl=TTL)
    assert held is not None
    assert held.pauses.paused["default"].since == EPOCH
    assert held.pauses.of(QueueKey("another")) == held.pauses.paused["*"]
    renewed = lease.renew(held, now=EPOCH, ttl=TTL)
    assert renewed is not None
    assert renewed.pauses == held.pauses == lease.pauses()
    assert lease.release(renewed)
    assert lease.pauses() == held.pauses


def test_a_resumption_ends_its_own_pause_and_says_when(tables: AnyTables) -> None:
    for queue in ("default", "other"):
        tables.operator_pauses(queue, EPOCH)
    tables.operator_resumes("default", EPOCH + TTL)
    pauses = tables.dispatcher_lease.pauses()
    assert set(pauses.paused) == {"other"}
    assert pauses.resumed_at(QueueKey("default")) == EPOCH + TTL
    assert pauses.resumed_at(QueueKey("other")) is None


def test_nothing_is_paused_before_an_operator_says_so(tables: AnyTables) -> None:
    assert not tables.dispatcher_lease.pauses().paused
