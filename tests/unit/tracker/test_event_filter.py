"""Events of others cost a look into a set, and ours wake the tracker."""

import json
import math
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from agent_stack.domain.errors import RetryError
from agent_stack.domain.runs import Run
from agent_stack.domain.triggers import Trigger, mentioned
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.event_filter import FRESH, FRESH_WHEN_EMPTY, EventFilter
from handlers import tracker as handler
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.deployment import translated_template
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import a_run, a_vm, an_environment, job_id

FOREIGN_EVENTS, MINUTE = 4_000, 60


def state_change(instance_id: str, state: str = "running") -> dict[str, Any]:
    """As EventBridge sends it."""
    return {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": "123456789012",
        "resources": [f"arn:aws:ec2:eu-central-1:123456789012:instance/{instance_id}"],
        "detail": {"instance-id": instance_id, "state": state},
    }


def from_buildkite(kind: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {"detail-type": kind, "source": "aws.partner/buildkite.com/acme/0190", "detail": {"version": 1, **detail}}


def batch(*events: dict[str, Any]) -> dict[str, Any]:
    return {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(event)} for event in events]}


def foreign(number: int) -> dict[str, Any]:
    return state_change(f"i-{0xF000000 + number:017x}")


class CountedLedger(MemoryLedger):
    """Counts how often it is read."""

    reads = 0

    def active_runs(self) -> list[Run]:
        type(self).reads += 1
        return list(super().active_runs())


@pytest.fixture
def store() -> Store:
    CountedLedger.reads = 0
    return Store()


def news(store: Store, clock: VirtualClock) -> EventFilter:
    return EventFilter(ledger=CountedLedger(store=store), clock=clock, telemetry=RecordedTelemetry())


def bound(store: Store) -> Run:
    run = a_run(1).bound(a_vm(1), now=EPOCH)
    store.runs[run.job_id] = run
    return run


@pytest.mark.parametrize(
    "event",
    [
        state_change(a_vm(1).instance_id),
        {**state_change(a_vm(1).instance_id), "detail-type": "EC2 Spot Instance Interruption Warning"},
        from_buildkite("Job Finished", {"job": {"uuid": job_id(1), "passed": True}}),
        from_buildkite("Agent Lost", {"agent": {"uuid": job_id(77), "name": f"stack-{a_vm(1).instance_id}"}}),
        {"detail-type": "whatever comes next", "detail": {}},
    ],
    ids=lambda event: str(event["detail-type"]),
)
def test_news_of_ours_and_what_nobody_knows_are_news(store: Store, event: dict[str, Any]) -> None:
    bound(store)
    others = [foreign(number) for number in range(20)]
    assert news(store, VirtualClock()).mentions_ours(mentioned(batch(*others, event)))


def test_news_of_others_are_none(store: Store) -> None:
    bound(store)
    events = [foreign(1), from_buildkite("Job Finished", {"job": {"uuid": job_id(2)}})]
    assert not news(store, VirtualClock()).mentions_ours(mentioned(batch(*events)))


@pytest.mark.parametrize("lives", [False, True])
def test_a_minute_of_foreign_events_costs_a_few_reads(store: Store, *, lives: bool) -> None:
    if lives:
        bound(store)
    clock = VirtualClock()
    ours = news(store, clock)
    window = template_window()
    for first in range(0, FOREIGN_EVENTS, FOREIGN_EVENTS * window // MINUTE):
        events = [foreign(first + number) for number in range(FOREIGN_EVENTS * window // MINUTE)]
        assert not ours.mentions_ours(mentioned(batch(*events)))
        clock.sleep(timedelta(seconds=window))
    assert CountedLedger.reads <= (2 if lives else math.ceil(MINUTE / FRESH_WHEN_EMPTY.total_seconds()))


def template_window() -> int:
    mapping = translated_template(region="eu-central-1")["Resources"]["TrackerWakes"]["Properties"]
    return int(mapping["MaximumBatchingWindowInSeconds"])


def test_four_thousand_foreign_events_in_a_minute_are_a_handful_of_invocations() -> None:
    mapping = translated_template(region="eu-central-1")["Resources"]["TrackerWakes"]["Properties"]
    pollers = mapping["ScalingConfig"]["MaximumConcurrency"]
    by_size, by_window = FOREIGN_EVENTS / mapping["BatchSize"], MINUTE / mapping["MaximumBatchingWindowInSeconds"]
    assert max(by_size, by_window * pollers) <= 12


def test_what_a_tick_saw_is_known_without_asking(store: Store) -> None:
    ours = news(store, VirtualClock())
    vm = a_vm(5)
    ours.learn(TrackerCycle(now=EPOCH, described=True, vms={vm.instance_id: vm}))
    assert ours.mentions_ours(mentioned(batch(state_change(vm.instance_id))))
    assert CountedLedger.reads == 0


def test_half_an_answer_replaces_nothing_that_is_known(store: Store) -> None:
    ours = news(store, VirtualClock())
    vm = a_vm(5)
    ours.learn(TrackerCycle(now=EPOCH, described=True, vms={vm.instance_id: vm}))
    ours.learn(TrackerCycle(now=EPOCH, described=False))
    assert ours.mentions_ours(mentioned(batch(state_change(vm.instance_id))))


@pytest.mark.parametrize(("lives", "within"), [(False, FRESH_WHEN_EMPTY), (True, FRESH)])
def test_a_vm_younger_than_the_set_is_news_once_the_set_is_old(store: Store, within: timedelta, *, lives: bool) -> None:
    clock = VirtualClock()
    ours = news(store, clock)
    if lives:
        bound(store)
    assert not ours.mentions_ours(mentioned(batch(foreign(1))))
    run = a_run(2).bound(a_vm(2), now=EPOCH)
    store.runs[run.job_id] = run
    event = batch(state_change(a_vm(2).instance_id, "pending"))
    assert not ours.mentions_ours(mentioned(event))
    clock.sleep(within)
    assert ours.mentions_ours(mentioned(event))


def test_what_cannot_be_judged_is_news(store: Store) -> None:
    class Throttled(MemoryLedger):
        def active_runs(self) -> list[Run]:
            raise RetryError("throttled")

    ours = EventFilter(ledger=Throttled(store=store), clock=VirtualClock(), telemetry=RecordedTelemetry())
    assert ours.mentions_ours(mentioned(batch(foreign(1))))


class Context:
    """As much of an invocation's context as the handler reads."""

    def get_remaining_time_in_millis(self) -> int:
        return 90_000


def test_through_the_real_handler_foreign_events_ask_for_next_to_nothing(
    dynamo: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handler, wiring, settings and botocore as they ship; the tables are moto's."""
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    for name, value in {**an_environment(), **keys}.items():
        monkeypatch.setenv(name, value)
    handler._tracker.cache_clear()
    tracker = handler._tracker()
    asked: Counter[str] = Counter()

    def count(request: AWSPreparedRequest, **_: object) -> None:
        asked[str(request.headers.get("X-Amz-Target")).strip("b'").rpartition(".")[2]] += 1

    tracker.deployment.dynamodb.meta.events.register_first("before-send.dynamodb", count)
    for first in range(0, FOREIGN_EVENTS, 500):
        handler.handle(batch(*(foreign(first + number) for number in range(500))), Context())  # type: ignore[arg-type]  # what it reads
    assert asked == {"Query": 8}  # one look into the ledger's shards; no lease, no EC2
    assert not {"ec2", "ssm"} & set(vars(tracker.deployment))
    handler._tracker.cache_clear()


def test_a_batch_is_a_wake_up_and_the_schedule_is_not() -> None:
    assert Trigger.of(batch(foreign(1))) is Trigger.WAKE_UP
    assert Trigger.of({}) is Trigger.SCHEDULE
