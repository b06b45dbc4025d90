"""What one answer of EC2 teaches, at its true scope: see the table in `ec2_codes`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent_stack.domain.backoff import CALLS_OF_A_LAUNCH, FALL_BACK_AFTER, Backoff, backoff_key, bounded
from agent_stack.domain.breakers import ACCOUNT, opened, words_of
from agent_stack.domain.budgets import Level
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass, base_name
from agent_stack.domain.ec2_codes import Effect, Row, Scope, row_for
from agent_stack.domain.identifiers import Bucket, ClassName
from agent_stack.domain.launching import LaunchError, LaunchOutcome
from agent_stack.domain.quota_buckets import bucket_of_pool, buckets_of
from agent_stack.domain.quotas import after_refusal, current
from agent_stack.domain.states import CapacityType
from agent_stack.domain.unavailable import (
    all_refused,
    pool_key,
    type_key,
    with_refused,
    with_unavailable,
    without_class,
    without_pools,
    zone_key,
)

ACCOUNT_WINDOW = timedelta(minutes=5)
"""What every class that asked within this time was refused, while none got a VM, is the account's."""

MAX_WORDS = 64
_OF_THE_REQUEST = frozenset(
    {
        Effect.BACK_OFF,
        Effect.SERVER_ERROR,
        Effect.CLASS_REFUSED,
        Effect.ACCOUNT_REFUSED,
        Effect.ACCOUNT_SUSPECTED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to a launch, with what is needed to understand it.

    Attributes:
        all_pools: every pool of the class, of each capacity type that it may use, unavailable ones included.
        vcpus: of one VM by instance type; a type that is not known counts as one.
        jitter: a number in [0, 1).
        other_classes: whether the deployment has more than this class.
    """

    vm_class: VmClass
    capacity_type: CapacityType
    outcome: LaunchOutcome
    all_pools: Sequence[str]
    now: datetime
    jitter: float
    vcpus: Mapping[str, int]
    other_classes: bool = True

    @property
    def key(self) -> str:
        """Of its backoff."""
        return backoff_key(self.vm_class.name, self.capacity_type)

    @property
    def base(self) -> ClassName:
        """The operator's name of the class."""
        return base_name(self.vm_class.name)

    @property
    def may_fall_back(self) -> bool:
        """Whether the class has another capacity type to go to."""
        return self.capacity_type is CapacityType.SPOT and self.vm_class.fallback


def learn(memory: LaunchMemory, answer: Answer) -> LaunchMemory:
    """What is known after that answer."""
    now, launched, errors = answer.now, answer.outcome.vms, answer.outcome.errors
    memory = replace(
        memory,
        began_at=memory.began_at or now,
        seen=_seen(memory, answer),
        quotas=current(memory.quotas, now),
        backoffs=bounded(memory.backoffs, now),
    )
    if launched:
        memory = _worked(memory, answer)
    rows = [(error, row_for(error.code, error.message, placed=bool(error.pool))) for error in errors]
    throttled = any(row.effect is Effect.THROTTLED for _, row in rows)
    if throttled:
        # It says nothing of the pools that EC2 did not come to, whatever stands beside it.
        rows = [(error, row) for error, row in rows if row.effect is Effect.THROTTLED]
        memory = replace(memory, instances=Level(tokens=0.0, at=now)).throttled(now, answer.jitter)
    memory = _quotas(memory, answer, [error for error, row in rows if row.effect is Effect.CEILING])
    said: set[Effect] = set()
    for error, row in rows:
        if row.effect in _OF_THE_REQUEST and said & _OF_THE_REQUEST:
            continue  # one answer is one failure, however often it says so
        said.add(row.effect)
        memory = _told(memory, answer, error, row)
    if not launched:
        if not throttled:
            memory = _class_if_all_refuse(memory, answer, errors)
        if errors:
            memory = _with_backoff(memory, answer, _backoff(memory, answer).fruitless(now, calls=1))
    if errors:
        words = {**memory.last_error_by_class}
        words.pop(answer.base, None)
        words[answer.base] = words_of(errors[-1].code, errors[-1].message)
        memory = replace(memory, last_error_by_class=dict(list(words.items())[-MAX_WORDS:]))
    return memory


def failed(
    memory: LaunchMemory, name: ClassName, capacity_type: CapacityType, message: str, now: datetime, jitter: float
) -> LaunchMemory:
    """A launch had no answer, or was refused in a way that says nothing of why."""
    key = backoff_key(name, capacity_type)
    before = memory.backoffs.get(key) or Backoff(since=now, until=now)
    after = before.failed(message, now, jitter, suspect=False).fruitless(now, calls=CALLS_OF_A_LAUNCH)
    return replace(memory, backoffs={**memory.backoffs, key: after}, began_at=memory.began_at or now)


def _seen(memory: LaunchMemory, answer: Answer) -> Mapping[str, datetime]:
    lately = {key: at for key, at in memory.seen.items() if answer.now - at < ACCOUNT_WINDOW}
    return dict(sorted({**lately, answer.key: answer.now}.items(), key=lambda item: item[1])[-MAX_WORDS:])


def _worked(memory: LaunchMemory, answer: Answer) -> LaunchMemory:
    breakers = {key: one for key, one in memory.breakers.items() if key not in (ACCOUNT, answer.vm_class.name)}
    pools = [f"{vm.capacity_type}:{vm.instance_type}:{vm.zone}" for vm in answer.outcome.vms]
    backoffs = {key: one for key, one in memory.backoffs.items() if key != answer.key}
    return replace(
        memory,
        breakers=breakers,
        backoffs=backoffs,
        refused=without_pools(memory.refused, answer.base, set(pools)),
        pause=None,
        worked_at=answer.now,
    )


def _quotas(memory: LaunchMemory, answer: Answer, refusals: Sequence[LaunchError]) -> LaunchMemory:
    """Ceilings go down by refusals, and up where all that was asked for came."""
    quotas = dict(memory.quotas)
    came = Counter(bucket_of_pool(f"{vm.capacity_type}:{vm.instance_type}:x") for vm in answer.outcome.vms)
    refused: set[Bucket] = set()
    for error in refusals:
        pools = (
            [error.pool]
            if error.pool
            else [
                pool for pool in answer.outcome.asked or answer.all_pools if pool.startswith(f"{answer.capacity_type}:")
            ]
        )
        for bucket in buckets_of(pools) - refused:
            refused.add(bucket)
            sizes = [answer.vcpus.get(pool.split(":")[1], 1) for pool in pools if bucket_of_pool(pool) == bucket]
            quotas[bucket] = after_refusal(
                quotas.get(bucket),
                asked=max(1, answer.outcome.count),
                launched=came[bucket],
                vcpus=min(sizes),
                code=error.code,
                message=error.message,
                now=answer.now,
            )
    sizes_came = {vm.instance_type: answer.vcpus.get(vm.instance_type, 1) for vm in answer.outcome.vms}
    for bucket in came.keys() - refused:
        if bucket in quotas:
            sizes = [
                sizes_came[vm.instance_type]
                for vm in answer.outcome.vms
                if bucket_of_pool(f"{vm.capacity_type}:{vm.instance_type}:x") == bucket
            ]
            quotas[bucket] = quotas[bucket].granted(launched=len(sizes), vcpus=sum(sizes), now=answer.now)
    return replace(memory, quotas=quotas)


def _told(memory: LaunchMemory, answer: Answer, error: LaunchError, row: Row) -> LaunchMemory:
    now, name = answer.now, answer.vm_class.name
    words = words_of(error.code, error.message)
    match row.effect:
        case Effect.POOL_UNAVAILABLE:
            return replace(memory, unavailable_pools=with_unavailable(memory.unavailable_pools, [error.pool], now))
        case Effect.ZONE_UNAVAILABLE if zone := error.zone or error.pool.rpartition(":")[2]:
            return replace(memory, unavailable_pools=with_unavailable(memory.unavailable_pools, [zone_key(zone)], now))
        case Effect.TYPE_REFUSED if _too_early(memory, answer, row):
            key = pool_key(answer.base, error.pool)
            return replace(memory, refused=with_refused(memory.refused, key, words, now, listed=False))
        case Effect.TYPE_REFUSED:
            key = type_key(answer.base, error.pool)
            return replace(memory, refused=with_refused(memory.refused, key, words, now, listed=True))
        case Effect.POOL_REFUSED if error.pool:
            key = pool_key(answer.base, error.pool)
            return replace(memory, refused=with_refused(memory.refused, key, words, now, listed=False))
        case Effect.THROTTLED | Effect.CEILING:
            return memory
        case _ if answer.outcome.vms:
            return memory  # VMs came all the same: it is neither the class nor the account
        case Effect.POOL_REFUSED:
            refused = memory.refused
            for pool in answer.outcome.asked:
                refused = with_refused(refused, pool_key(answer.base, pool), words, now, listed=False)
            return _backed_off(replace(memory, refused=refused), answer, words)
        case Effect.ACCOUNT_REFUSED if not answer.may_fall_back:
            return replace(memory, breakers=opened(memory.breakers, ACCOUNT, words, now, definite=True))
        case Effect.CLASS_REFUSED if not answer.may_fall_back and not _too_early(memory, answer, row):
            memory = replace(memory, breakers=opened(memory.breakers, name, words, now, definite=True))
            return _account_if_all(_marked(memory, answer, words), answer, row, words) if row.authorisation else memory
        case Effect.CLASS_REFUSED | Effect.ACCOUNT_REFUSED if answer.may_fall_back:
            return _backed_off(memory, answer, words, failures=FALL_BACK_AFTER)  # on-demand will tell
        case _:
            suspect = row.authorisation or row.scope is Scope.ACCOUNT
            memory = _backed_off(memory, answer, words, suspect=suspect)
            return _account_if_all(memory, answer, row, words) if suspect else memory


def _class_if_all_refuse(memory: LaunchMemory, answer: Answer, errors: Sequence[LaunchError]) -> LaunchMemory:
    """The class itself is wrong only when EC2 refuses each of its types, or for long all of its pools."""
    verdict = all_refused(answer.base, answer.all_pools, memory.refused, answer.now)
    if verdict is False:
        return memory
    name = answer.vm_class.name
    spoken = next((error for error in errors if row_for(error.code, placed=True).effect is Effect.TYPE_REFUSED), None)
    said = spoken or (errors[-1] if errors else None)
    words = words_of(said.code, said.message) if said is not None else memory.last_error_by_class.get(answer.base, "")
    memory = replace(
        memory,
        breakers=opened(memory.breakers, name, words, answer.now, definite=verdict is True),
        refused=without_class(memory.refused, answer.base) if verdict is True else memory.refused,
    )
    if said is not None and (row := row_for(said.code, placed=True)).authorisation:
        memory = _account_if_all(_marked(memory, answer, words), answer, row, words)
    return memory


def _too_early(memory: LaunchMemory, answer: Answer, row: Row) -> bool:
    """IAM is eventually consistent: a new deployment's role may be refused for minutes."""
    young = memory.began_at is None or answer.now - memory.began_at < ACCOUNT_WINDOW
    return row.authorisation and memory.worked_at is None and young


def _account_if_all(memory: LaunchMemory, answer: Answer, row: Row, words: str) -> LaunchMemory:
    """The account's when every class that asked lately was refused like that, and none got a VM."""
    now = answer.now
    if memory.worked_at is not None and now - memory.worked_at < ACCOUNT_WINDOW:
        return memory
    if _too_early(memory, answer, row):
        return memory
    suspects = [key for key in memory.seen if (one := memory.backoffs.get(key)) is not None and one.suspect]
    several = len(suspects) > 1 or not answer.other_classes
    if not several or len(suspects) < len(memory.seen):
        return memory
    return replace(memory, breakers=opened(memory.breakers, ACCOUNT, words, now, definite=False))


def _marked(memory: LaunchMemory, answer: Answer, words: str) -> LaunchMemory:
    """Note that this class was refused in a way that may be the account's; its breaker keeps it back already."""
    before = _backoff(memory, answer)
    marked = replace(before, failures=max(1, before.failures), message=words, suspect=True)
    return _with_backoff(memory, answer, marked)


def _backed_off(
    memory: LaunchMemory, answer: Answer, words: str, *, suspect: bool = False, failures: int = 1
) -> LaunchMemory:
    after = _backoff(memory, answer).failed(words, answer.now, answer.jitter, suspect=suspect, failures=failures)
    return _with_backoff(memory, answer, after)


def _backoff(memory: LaunchMemory, answer: Answer) -> Backoff:
    return memory.backoffs.get(answer.key) or Backoff(since=answer.now, until=answer.now)


def _with_backoff(memory: LaunchMemory, answer: Answer, backoff: Backoff) -> LaunchMemory:
    return replace(memory, backoffs={**memory.backoffs, answer.key: backoff})
