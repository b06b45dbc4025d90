"""What EC2 taught, as neighbouring versions read and write it."""

from datetime import timedelta
from typing import Any

from agent_stack.adapters.dynamodb.fields import moment
from agent_stack.adapters.dynamodb.items import packed, seconds
from agent_stack.adapters.dynamodb.launch_memory import LONG_AGO, memory_values, read_memory
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import Bucket, ClassName
from agent_stack.domain.quotas import MAX_BUCKETS, Ceiling
from agent_stack.domain.unavailable import MAX_REFUSED, MAX_UNAVAILABLE, with_refused, with_unavailable
from tests.simulator.clock import EPOCH

NAME = ClassName("default")
WRITTEN_BY_0_1_0: dict[str, Any] = {
    "pk": "launching",
    "sk": "memory",
    "cooling": {"spot:m7i.large:a": seconds(EPOCH), "on-demand": seconds(EPOCH)},
    "breakers": {"default": {"until": seconds(EPOCH), "since": seconds(EPOCH), "failures": 2, "message": "words"}},
    "instances": {"tokens": "7.5", "at": seconds(EPOCH)},
    "requests": {"tokens": "3.0", "at": seconds(EPOCH)},
    "pause": {"until": seconds(EPOCH), "throttles": 2},
    "asked": [[seconds(EPOCH), 4]],
    "last_words": {"default": "InvalidAMIID.NotFound: gone"},
}


def test_what_version_0_1_0_kept_is_read() -> None:
    memory = read_memory(packed(WRITTEN_BY_0_1_0))
    assert memory.unavailable(EPOCH - timedelta(seconds=1)) == {"spot:m7i.large:a", "on-demand"}
    assert memory.breakers == {NAME: Breaker(until=EPOCH, since=EPOCH, failures=2, message="words")}
    assert memory.instances is not None
    assert memory.pause is not None
    assert memory.asked == ((EPOCH, 4),)
    assert memory.began_at == LONG_AGO  # it is no new deployment
    assert not memory.is_open(NAME, "on-demand:m7i.large:b", EPOCH - timedelta(seconds=1))


def test_what_is_kept_now_can_be_read_by_version_0_1_0() -> None:
    """As its reader did: these attributes, with values of these shapes; others were not looked at."""
    stored = memory_values(read_memory(packed(WRITTEN_BY_0_1_0)))
    for name in set(WRITTEN_BY_0_1_0) - {"pk", "sk", "breakers"}:
        assert stored[name] == WRITTEN_BY_0_1_0[name], name
    for name, breaker in WRITTEN_BY_0_1_0["breakers"].items():
        assert breaker.items() <= stored["breakers"][name].items()


def test_an_entry_that_cannot_be_read_costs_only_itself() -> None:
    good = Ceiling(most=4, refused_at=EPOCH, code="VcpuLimitExceeded", message="")
    stored = memory_values(LaunchMemory(quotas={Bucket("spot:standard"): good}))
    stored["quotas"]["spot:x"] = {"most": "?"}
    stored["backoffs"] = {"default|spot": 7}
    assert read_memory(packed({name: value for name, value in stored.items() if value is not None})).quotas == {
        "spot:standard": good
    }


def test_the_item_stays_small_whatever_classes_jobs_invent() -> None:
    memory = LaunchMemory()
    unavailable, refused = memory.unavailable_pools, memory.refused
    for number in range(2_000):
        at = EPOCH + timedelta(milliseconds=number)
        unavailable = with_unavailable(unavailable, [f"spot:type{number}.metal-48xl:eu-central-1a"], at)
        refused = with_refused(refused, f"class{number}|spot:m7i.large:*", "x" * 300, at, listed=True)
    assert (len(unavailable), len(refused)) == (MAX_UNAVAILABLE, MAX_REFUSED)
    held = tuple((EPOCH, EPOCH) for _ in range(8))
    quotas = {
        Bucket(f"spot:g{number}"): Ceiling(most=4, refused_at=EPOCH, code="c", message="x" * 160, held=held)
        for number in range(MAX_BUCKETS)
    }
    values = memory_values(LaunchMemory(unavailable_pools=unavailable, refused=refused, quotas=quotas))
    assert len(repr(packed({name: value for name, value in values.items() if value is not None}))) < 350_000
    assert moment(values["cooling"]["spot:type1999.metal-48xl:eu-central-1a"]) > EPOCH
