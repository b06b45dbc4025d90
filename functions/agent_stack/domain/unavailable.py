"""What is not asked for a while: pools without capacity, zones without addresses, and what EC2 refuses one class.

Each lesson is kept by the widest fact that holds, so that there are few whatever classes exist or jobs invent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.states import CapacityType

UNAVAILABLE_FOR = timedelta(minutes=3)
"""How long a pool without capacity is not asked. Source: what Karpenter found to work."""

POOL_REFUSED_FOR = timedelta(seconds=30)
"""How long a class does without a pool that answered it with a code that says nothing."""

UNLISTED_FOR = timedelta(seconds=60)
"""How long every pool of a class must answer with unlisted codes before the class itself is taken for the cause."""

MAX_UNAVAILABLE = 200  # entries; keeps the item under DynamoDB's and our own limits
MAX_REFUSED = 200
_FORGOTTEN_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What EC2 refuses one class: a type, or one pool.

    Attributes:
        since: the first of an unbroken row of such answers.
        listed: whether a document lists the code; then the type is wrong for the class.
    """

    since: datetime
    until: datetime
    message: str
    listed: bool


def zone_key(zone: str) -> str:
    """All pools of a zone."""
    return f"*:*:{zone}"


def type_key(base: ClassName, pool: str) -> str:
    """A type of one class, in all zones."""
    capacity_type, instance_type, _ = pool.split(":")
    return f"{base}|{capacity_type}:{instance_type}:*"


def pool_key(base: ClassName, pool: str) -> str:
    """A pool, for one class."""
    return f"{base}|{pool}"


def is_unavailable(pool: str, unavailable: Mapping[str, datetime], now: datetime) -> bool:
    """Whether a pool has no capacity, or its zone no address, or its whole capacity type is left alone."""
    capacity_type, _, zone = pool.split(":")
    return any(
        (until := unavailable.get(key)) is not None and until > now for key in (pool, zone_key(zone), capacity_type)
    )


def is_refused(base: ClassName, pool: str, refused: Mapping[str, Refusal], now: datetime) -> bool:
    """Whether that class does without that pool."""
    return any(
        (refusal := refused.get(key)) is not None and refusal.until > now
        for key in (type_key(base, pool), pool_key(base, pool))
    )


def with_unavailable(unavailable: Mapping[str, datetime], keys: Iterable[str], now: datetime) -> Mapping[str, datetime]:
    """Those and the ones before; the latest of them when they are too many."""
    kept = {key: until for key, until in unavailable.items() if until > now}
    kept |= dict.fromkeys(keys, now + UNAVAILABLE_FOR)
    return dict(sorted(kept.items(), key=lambda item: item[1])[-MAX_UNAVAILABLE:])


def with_refused(
    refused: Mapping[str, Refusal], key: str, message: str, now: datetime, *, listed: bool
) -> Mapping[str, Refusal]:
    """Those and one more, which goes on where the one before ended."""
    before = refused.get(key)
    if before is not None and now - before.until > UNAVAILABLE_FOR:
        before = None  # it was not refused meanwhile, as far as is known
    rest = UNAVAILABLE_FOR if listed else POOL_REFUSED_FOR
    refusal = Refusal(
        since=before.since if before is not None else now, until=now + rest, message=message, listed=listed
    )
    kept = {name: one for name, one in refused.items() if name != key and now - one.until < _FORGOTTEN_AFTER}
    return dict(sorted([*kept.items(), (key, refusal)], key=lambda item: item[1].until)[-MAX_REFUSED:])


def without_class(refused: Mapping[str, Refusal], base: ClassName) -> Mapping[str, Refusal]:
    """Those of other classes."""
    return {key: refusal for key, refusal in refused.items() if not key.startswith(f"{base}|")}


def without_pools(refused: Mapping[str, Refusal], base: ClassName, pools: Iterable[str]) -> Mapping[str, Refusal]:
    """Those that are left after VMs came from these pools."""
    gone = {key for pool in pools for key in (type_key(base, pool), pool_key(base, pool))}
    return {key: refusal for key, refusal in refused.items() if key not in gone} if gone else refused


def all_refused(base: ClassName, pools: Iterable[str], refused: Mapping[str, Refusal], now: datetime) -> bool | None:
    """Whether EC2 refuses the class every pool.

    Returns:
        True when documented codes say so of each type, None when unlisted codes have said so for long enough, False
        when neither is so.
    """
    known = [refused.get(type_key(base, pool)) or refused.get(pool_key(base, pool)) for pool in pools]
    if not known or any(refusal is None for refusal in known):
        return False
    lately = [refusal for refusal in known if refusal is not None and now - refusal.until < POOL_REFUSED_FOR]
    if len(lately) < len(known):
        return False
    if all(refusal.listed for refusal in lately):
        return True
    return None if all(refusal.listed or now - refusal.since > UNLISTED_FOR for refusal in lately) else False


def choose_capacity_type(
    vm_class: VmClass, open_pools: Mapping[CapacityType, bool], failing: frozenset[CapacityType] = frozenset()
) -> CapacityType | None:
    """The capacity type to ask: the class's own while any pool of it is open, then on-demand if the class may.

    Args:
        open_pools: by capacity type, whether any pool of it may be asked now.
        failing: those whose requests keep failing as a whole.

    Returns:
        None when nothing may be asked now.
    """
    own = vm_class.capacity_type
    order = (own, CapacityType.ON_DEMAND) if vm_class.fallback else (own,)
    return next((kind for kind in order if open_pools.get(kind) and kind not in failing), None)
