"""Answers with one thing wrong: nothing escapes the error tree, no other job is lost, no token is told."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_stack.adapters.stacks_api import Dialect
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId
from agent_stack.ports import Notification
from tests.contract.stacks import LEASE, QUEUE, Desk, a_desk
from tests.simulator.buildkite import Dialect as Served
from tests.simulator.buildkite import Step, transport
from tests.simulator.clock import EPOCH

pytestmark = pytest.mark.share(4)

EXAMPLES = 2 * settings().max_examples
"""Of each property: 200, each night 5,000, and with the profile of scripts/fast 20."""

Path = tuple[str | int, ...]

ASKS: dict[str, Callable[[Desk, list[JobId]], object]] = {
    "register": lambda desk, _: desk.client.register(QUEUE),
    "list": lambda desk, _: desk.client.list_scheduled(QUEUE),
    "job": lambda desk, jobs: desk.client.job_details(QUEUE, jobs[0]),
    "reserve": lambda desk, jobs: desk.client.reserve(QUEUE, jobs, LEASE),
    "states": lambda desk, jobs: desk.client.job_states(QUEUE, jobs),
    "tokens": lambda desk, jobs: desk.client.issue_tokens(QUEUE, jobs, LEASE),
    "notify": lambda desk, jobs: desk.client.notify(
        QUEUE, [Notification(job_id=job, text="hello", at=EPOCH) for job in jobs]
    ),
    "finish": lambda desk, jobs: desk.client.finish(QUEUE, jobs[0], exit_status=-1, detail="why"),
    "deregister": lambda desk, _: desk.client.deregister(QUEUE),
    "identity": lambda desk, _: desk.client.token_identity(),
}
ONLY_CURRENT = frozenset({"tokens", "identity"})


class Answers:
    """A transport that gives one prepared answer to everything."""

    def __init__(self) -> None:
        self.answer: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(500)
        self.client = httpx.Client(transport=httpx.MockTransport(lambda request: self.answer(request)))  # noqa: PLW0108  (the answer changes)


@cache
def prepared() -> Answers:
    return Answers()


@cache
def recorded(served: Served) -> tuple[dict[str, tuple[int, Any]], list[JobId]]:
    """What the simulated Buildkite answers when nothing is wrong, by operation; and the jobs it is about."""
    answers: dict[str, tuple[int, Any]] = {}
    jobs: list[JobId] = []
    with ExitStack() as stack:
        for name, ask in ASKS.items():
            if name in ONLY_CURRENT and served is Served.PREVIEW:
                continue
            desk = a_desk(stack, served=served).registered()
            jobs = desk.push(*(Step(key=f"s{n}", agents=["class=small"]) for n in range(5)))
            if name not in {"list", "reserve"}:
                desk.client.reserve(QUEUE, jobs, LEASE)
            last: list[httpx.Response] = []
            inner = transport(desk.buildkite)

            def carry(
                request: httpx.Request, inner: httpx.BaseTransport = inner, last: list[httpx.Response] = last
            ) -> httpx.Response:
                last[:] = [inner.handle_request(request)]
                return last[0]

            desk.client._caller._http = stack.enter_context(httpx.Client(transport=httpx.MockTransport(carry)))
            ask(desk, jobs)
            body = last[0].read()
            answers[name] = (last[0].status_code, json.loads(body) if body else None)
    return answers, jobs


@cache
def secrets() -> tuple[str, ...]:
    """The agent token, and every acquisition token that was issued."""
    issued = recorded(Served.CURRENT)[0]["tokens"][1]["job_acquisition_tokens"]
    return ("bkct_simulated", *(token["job_acquisition_token"] for token in issued))


def paths(document: object, at: Path = ()) -> Iterator[Path]:
    """Every place in a JSON document."""
    yield at
    items: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(document, dict):
        items = iter(document.items())
    elif isinstance(document, list):
        items = iter(enumerate(document))
    for key, value in items:
        yield from paths(value, (*at, key))


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "",
            "[" * 50_000,
            "2023-13-45T99:99:99Z",
            "9" * 400,
            "\ud800",
            "bkjat_stolen",
            "../../x",
            "a\r\nb",
            -1,
            10**400,
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
REMOVED = object()


def broken(document: object, at: Path, junk: object) -> object:
    """The document with one place replaced or removed."""
    if not at:
        return None if junk is REMOVED else junk
    changed = copy.deepcopy(document)
    holder: Any = changed
    for key in at[:-1]:
        holder = holder[key]
    if junk is REMOVED:
        del holder[at[-1]]
    else:
        holder[at[-1]] = junk
    return changed


def a_client(served: Served, dialect: Dialect | None = None) -> Desk:
    return a_desk(
        ExitStack(), served=served, dialect=dialect or Dialect(served.value), http=prepared().client, job_tokens=False
    )


def told(desk: Desk, outcome: object) -> None:
    """No credential stands in anything that a person may read."""
    said = desk.said() + repr(outcome) + str(outcome)
    assert not [secret for secret in secrets() if secret in said]


def ask(desk: Desk, name: str, jobs: list[JobId]) -> object:
    """The result, or the error; any other exception is a failure of the test."""
    try:
        return ASKS[name](desk, jobs)
    except AgentStackError as error:
        return error


SERVED = st.sampled_from(list(Served))
QUIET = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUIET
@given(st.data(), SERVED, st.sampled_from(sorted(ASKS)), JUNK | st.just(REMOVED))
def test_one_broken_field_never_escapes_the_error_tree(
    data: st.DataObject, served: Served, name: str, junk: object
) -> None:
    answers, jobs = recorded(served)
    if name not in answers:
        return
    status, document = answers[name]
    at = data.draw(st.sampled_from(list(paths(document))))
    text = json.dumps(broken(document, at, junk), ensure_ascii=True).encode()
    prepared().answer = lambda _: httpx.Response(status, content=text, headers={"Content-Type": "application/json"})
    desk = a_client(served)
    told(desk, ask(desk, name, jobs))


@QUIET
@given(st.data(), SERVED, JUNK | st.just(REMOVED))
def test_one_broken_job_costs_only_itself(data: st.DataObject, served: Served, junk: object) -> None:
    answers, _ = recorded(served)
    status, document = answers["list"]
    index = data.draw(st.integers(0, len(document["jobs"]) - 1))
    inside = [path for path in paths(document) if path[:2] == ("jobs", index)]
    at = data.draw(st.sampled_from(inside))
    text = json.dumps(broken(document, at, junk)).encode()
    prepared().answer = lambda _: httpx.Response(status, content=text)
    desk = a_client(served)
    page = desk.client.list_scheduled(QUEUE)
    others = {job["id"] for place, job in enumerate(document["jobs"]) if place != index}
    assert others <= {job.job_id for job in page.jobs}
    told(desk, page)


@QUIET
@given(
    SERVED,
    st.sampled_from(sorted(ASKS)),
    st.integers(200, 599),
    st.binary(max_size=40) | st.just(b'{"message":"bkjat_x"}'),
)
def test_any_status_with_any_body_stays_in_the_error_tree(served: Served, name: str, status: int, body: bytes) -> None:
    _, jobs = recorded(served)
    prepared().answer = lambda _: httpx.Response(status, content=body)
    desk = a_client(served)
    told(desk, ask(desk, name, jobs))


HEADERS = (
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Content-Type",
    "Content-Encoding",
)
NONSENSE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12) | st.sampled_from(
    ["-1", "nan", "inf", "1e999", "0", "99999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "gzip", ""]
)


@QUIET
@given(SERVED, st.sampled_from(sorted(ASKS)), st.sampled_from(HEADERS), NONSENSE, st.sampled_from([200, 429, 503]))
def test_a_broken_header_stays_in_the_error_tree(
    served: Served, name: str, header: str, value: str, status: int
) -> None:
    answers, jobs = recorded(served)
    if name not in answers:
        return
    body = json.dumps(answers[name][1]).encode()
    prepared().answer = lambda _: httpx.Response(status, stream=httpx.ByteStream(body), headers={header: value})
    desk = a_client(served)
    told(desk, ask(desk, name, jobs))


@QUIET
@given(SERVED, st.sampled_from(sorted(ASKS)), st.sampled_from(sorted(vars(httpx))))
def test_every_way_a_connection_fails_stays_in_the_error_tree(served: Served, name: str, kind: str) -> None:
    failure = getattr(httpx, kind)
    if not (isinstance(failure, type) and issubclass(failure, httpx.TransportError)):
        failure = httpx.ReadError
    _, jobs = recorded(served)

    def fail(request: httpx.Request) -> httpx.Response:
        raise failure("Authorization: Token bkct_simulated", request=request)

    prepared().answer = fail
    desk = a_client(served)
    told(desk, ask(desk, name, jobs))
