"""The table of EC2's codes: one row each, disjoint, in one place; and what each row does to what is known."""

import ast
from datetime import timedelta

import pytest

from agent_stack.domain.backoff import FALL_BACK_AFTER
from agent_stack.domain.breakers import ACCOUNT
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.ec2_codes import ROWS, UNLISTED, Effect, Row, Scope, row_for
from agent_stack.domain.launching import LaunchError
from agent_stack.domain.states import CapacityType
from infra.user_data import ROOT
from tests.simulator.clock import EPOCH
from tests.unit.domain.lessons import NAME, OTHER, POOLS, a_class, answered, at

ALL = (*ROWS, *UNLISTED.values())
POOL = POOLS[CapacityType.ON_DEMAND][0]
NEXT, ELSEWHERE = "on-demand:m6i.large:a", "on-demand:m7i.large:b"
OTHER_SERVICES = {"dynamodb", "ssm"}
"""Adapters of services whose codes have some of the same names."""

OLD = LaunchMemory(began_at=EPOCH - timedelta(hours=1))


def example(row: Row) -> LaunchError:
    code = row.code.replace("*", "Something" if row.code != "*" else "NeverHeardOf")
    return LaunchError(
        error_class=row.error_class,
        code=code,
        message=f"words {row.words}",
        pool=POOL if row.placed else "",
        zone="a" if row.effect is Effect.ZONE_UNAVAILABLE else "",
    )


@pytest.mark.parametrize(
    "row",
    ALL,
    ids=lambda row: f"{row.code}{' ' + row.words if row.words else ''}-{'placed' if row.placed else 'whole'}",
)
def test_each_row_affects_what_it_is_about_and_nothing_else(row: Row) -> None:  # noqa: C901  (a case for each effect)
    error = example(row)
    assert row_for(error.code, error.message, placed=row.placed) == row
    memory = answered(OLD, error, count=2)
    open_pools = {pool for pool in (POOL, NEXT, ELSEWHERE) if memory.is_open(NAME, pool, EPOCH)}
    others = {pool for pool in (POOL, NEXT, ELSEWHERE) if memory.is_open(OTHER, pool, EPOCH)}
    everything = {POOL, NEXT, ELSEWHERE}
    backoff = memory.backoff(NAME, CapacityType.ON_DEMAND)
    waits = backoff is not None and backoff.failures > 0
    breakers = set(memory.breakers)
    match row.effect:
        case Effect.POOL_UNAVAILABLE:
            assert (open_pools, others, waits, breakers) == (everything - {POOL}, everything - {POOL}, False, set())
            assert memory.is_open(NAME, POOL, at(180))
        case Effect.ZONE_UNAVAILABLE:
            assert (open_pools, others, waits, breakers) == ({ELSEWHERE}, {ELSEWHERE}, False, set())
            assert memory.is_open(NAME, POOL, at(180))
        case Effect.CEILING:
            assert (open_pools, others, waits, breakers) == (everything, everything, False, set())
            assert set(memory.quotas) == {"on-demand:standard"}
        case Effect.TYPE_REFUSED:
            assert (open_pools, others, waits, breakers) == ({NEXT}, everything, False, set())
            assert memory.is_open(NAME, POOL, at(180))
        case Effect.POOL_REFUSED if row.placed:
            assert (open_pools, others, waits, breakers) == (everything - {POOL}, everything, False, set())
            assert memory.is_open(NAME, POOL, at(30))
        case Effect.POOL_REFUSED:
            assert (open_pools, others, waits, breakers) == (set(), everything, True, set())
        case Effect.CLASS_REFUSED:
            assert (open_pools, others, breakers) == (everything, everything, {NAME})
            assert memory.breaker(NAME, EPOCH) is not None
            assert memory.breaker(OTHER, EPOCH) is None
        case Effect.ACCOUNT_REFUSED:
            assert (open_pools, others, waits, breakers) == (everything, everything, False, {ACCOUNT})
            assert memory.breaker(OTHER, EPOCH) is not None
        case Effect.ACCOUNT_SUSPECTED | Effect.BACK_OFF | Effect.SERVER_ERROR:
            assert (open_pools, others, waits, breakers) == (everything, everything, True, set())
            assert not memory.may_ask(NAME, CapacityType.ON_DEMAND, EPOCH)
            assert memory.may_ask(OTHER, CapacityType.ON_DEMAND, EPOCH)
        case Effect.THROTTLED:
            assert (open_pools, others, waits, breakers) == (everything, everything, False, set())
            assert memory.paused(EPOCH)
    assert memory.last_error_by_class == {NAME: f"{error.code}: {error.message}"}


@pytest.mark.parametrize("row", [row for row in ALL if not row.placed], ids=lambda row: row.code)
def test_a_spot_request_that_is_refused_as_a_whole_never_stops_a_class_that_may_fall_back(row: Row) -> None:
    memory, now = OLD, 0.0
    vm_class = a_class(capacity_type=CapacityType.SPOT, fallback=True)
    for _ in range(FALL_BACK_AFTER):
        memory = answered(memory, example(row), vm_class=vm_class, after=now)
        now += 5
    assert memory.breaker(NAME, at(now)) is None
    if row.effect not in {Effect.CEILING, Effect.THROTTLED, Effect.ZONE_UNAVAILABLE}:
        assert memory.falls_back(NAME, CapacityType.SPOT, at(now - 5))
        assert memory.may_ask(NAME, CapacityType.ON_DEMAND, at(now))


def test_the_rows_are_disjoint() -> None:
    keys = [(row.code, row.placed, row.words) for row in ROWS]
    assert len(keys) == len(set(keys))
    for row in ROWS:
        rivals = [
            other
            for other in ROWS
            if other is not row
            and other.placed is row.placed
            and other.words == row.words
            and other.code.endswith("*")
            and row.code.startswith(other.code[:-1])
            and other.effect is row.effect
        ]
        assert not rivals, f"{row.code} is in {rivals[0].code} already" if rivals else ""


def test_every_scope_and_effect_has_a_row_and_every_row_a_source() -> None:
    assert {row.scope for row in ALL} == set(Scope)
    assert {row.effect for row in ALL} == set(Effect)
    assert all(row.source for row in ALL)
    assert {(row.code, not row.placed) for row in ROWS} == {(row.code, row.placed) for row in ROWS}


def test_no_code_stands_anywhere_else_in_the_functions() -> None:
    codes = {row.code.rstrip("*.") for row in ROWS}
    for path in (ROOT / "functions").rglob("*.py"):
        if path.name in {"ec2_codes.py", "sqs.py"} or path.parent.name in OTHER_SERVICES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value.removeprefix("Client.").rstrip("*.") not in codes, f"{path.name}: {node.value}"


def test_a_throttle_teaches_nothing_of_the_pools_beside_it() -> None:
    throttle = LaunchError(error_class=UNLISTED[True].error_class, code="RequestLimitExceeded", message="", pool=POOL)
    for row in ROWS:
        if row.placed and row.effect is not Effect.THROTTLED:
            memory = answered(OLD, throttle, example(row))
            assert (memory.unavailable_pools, memory.refused, memory.quotas, memory.breakers) == ({}, {}, {}, {})


def test_whatever_is_refused_beside_vms_stops_neither_class_nor_account() -> None:
    for row in ALL:
        memory = answered(OLD, example(row), launched=1)
        assert memory.breakers == {}, row
        assert memory.may_ask(NAME, CapacityType.ON_DEMAND, EPOCH), row
