"""What one answer of EC2 teaches, at its true scope: see the table in `ec2_codes`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent_stack.domain.answers import Answer
from agent_stack.domain.backoff import CALLS_OF_A_LAUNCH, FALL_BACK_AFTER, Backoff, backoff_key, bounded
from agent_stack.domain.breakers import ACCOUNT, opened, words_of
from agent_stack.domain.budgets import Level
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.ec2_codes import Effect, Row, Scope, row_for
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchError
from agent_stack.domain.quota_lessons import after_answer
from agent_stack.domain.quotas import current
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
    refusals = [error for error, row in rows if row.effect is Effect.CEILING]
    memory = replace(memory, quotas=after_answer(memory.quotas, answer, refusals))
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
    if errors or launched:
        words = {**memory.last_error_by_class}
        words.pop(answer.base, None)  # after VMs came, an older error explains nothing
        if errors:
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


def _told(memory: LaunchMemory, answer: Answer, error: LaunchError, row: Row) -> LaunchMemory:
    """What one error teaches, quotas and throttles apart."""
    if row.effect in (Effect.THROTTLED, Effect.CEILING):
        return memory
    placed = _of_a_place(memory, answer, error, row)
    if placed is not None:
        return placed
    return memory if answer.outcome.vms else _of_the_request(memory, answer, error, row)


def _of_a_place(memory: LaunchMemory, answer: Answer, error: LaunchError, row: Row) -> LaunchMemory | None:
    """What an error teaches of a pool, a zone or a type; None when it is about the whole request."""
    now, words = answer.now, words_of(error.code, error.message)
    match row.effect:
        case Effect.POOL_UNAVAILABLE:
            return replace(memory, unavailable_pools=with_unavailable(memory.unavailable_pools, [error.pool], now))
        case Effect.ZONE_UNAVAILABLE if zone := error.zone or error.pool.rpartition(":")[2]:
            return replace(memory, unavailable_pools=with_unavailable(memory.unavailable_pools, [zone_key(zone)], now))
        case Effect.TYPE_REFUSED if not _too_early(memory, answer, row):
            key = type_key(answer.base, error.pool)
            return replace(memory, refused=with_refused(memory.refused, key, words, now, listed=True))
        case Effect.TYPE_REFUSED | Effect.POOL_REFUSED if error.pool:
            key = pool_key(answer.base, error.pool)
            return replace(memory, refused=with_refused(memory.refused, key, words, now, listed=False))
        case _:
            return None


def _of_the_request(memory: LaunchMemory, answer: Answer, error: LaunchError, row: Row) -> LaunchMemory:
    """What an error teaches that refuses a request which brought no VM."""
    now, name, words = answer.now, answer.vm_class.name, words_of(error.code, error.message)
    wrong = row.effect in (Effect.CLASS_REFUSED, Effect.ACCOUNT_REFUSED)
    suspect = row.authorisation or row.scope is Scope.ACCOUNT
    if wrong and answer.may_fall_back:
        return _backed_off(memory, answer, words, suspect=suspect, failures=FALL_BACK_AFTER)  # on-demand will tell
    if row.effect is Effect.ACCOUNT_REFUSED:
        return replace(memory, breakers=opened(memory.breakers, ACCOUNT, words, now, definite=True))
    if wrong and not _too_early(memory, answer, row):
        memory = replace(memory, breakers=opened(memory.breakers, name, words, now, definite=True))
        return _account_if_all(_marked(memory, answer, words), answer, row, words) if row.authorisation else memory
    if row.effect is Effect.POOL_REFUSED:
        refused = memory.refused
        for pool in answer.outcome.asked:
            refused = with_refused(refused, pool_key(answer.base, pool), words, now, listed=False)
        memory = replace(memory, refused=refused)
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
