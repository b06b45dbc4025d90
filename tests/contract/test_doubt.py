"""Doubt stays doubt: a try that may have taken effect, and a refusal after it, are an unknown outcome."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta

import httpx
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
)

from agent_stack.adapters.aws import AwsCalls, RefusedError, RefusedInDoubtError
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.launching import LaunchErrorClass
from agent_stack.domain.situations import ABSENCE_GRACE, FINISH_SETTLES_AFTER
from tests.contract.fleets import SUBNETS, World, made, settings, templates
from tests.contract.stacks import LEASE, QUEUE, a_desk
from tests.contract.tables import Tables, another_process, lose_next_answer
from tests.simulator.buildkite import Operation
from tests.simulator.clock import EPOCH, FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2
from tests.simulator.identity import SeededIds
from tests.unit.values import a_letter, a_run, a_vm

LOST = ReadTimeoutError(endpoint_url="https://aws.invalid")
CLOSED = ConnectionClosedError(endpoint_url="https://aws.invalid")
NOT_SENT = (
    EndpointConnectionError(endpoint_url="https://aws.invalid"),
    ConnectTimeoutError(endpoint_url="https://aws.invalid"),
    ProxyConnectionError(proxy_url="http://proxy.invalid"),
)


def answer(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "X")  # type: ignore[typeddict-item]


def calls(
    clock: VirtualClock, left: timedelta = timedelta(seconds=60), *, throttled: Callable[[], None] = lambda: None
) -> AwsCalls:
    return AwsCalls(
        clock=clock,
        ids=SeededIds(),
        deadline=FixedDeadline(left),
        throttles=frozenset({"Throttling"}),
        server_errors=frozenset({"InternalError"}),
        throttled=throttled,
    )


def say(*answers: Exception) -> Callable[[], None]:
    left = list(answers)

    def send() -> None:
        raise left.pop(0) if len(left) > 1 else left[0]

    return send


@pytest.mark.parametrize("doubt", [LOST, CLOSED, answer("InternalError", 500), answer("502", 502), KeyError("x")])
def test_a_refusal_after_a_lost_answer_is_in_doubt_unless_nothing_is_changed(doubt: Exception) -> None:
    with pytest.raises(RefusedInDoubtError):
        calls(VirtualClock()).call("X", say(doubt, answer("No")))
    with pytest.raises(RefusedError):
        calls(VirtualClock()).call("X", say(doubt, answer("No")), is_read=True)


@pytest.mark.parametrize("nothing_done", [answer("Throttling"), *NOT_SENT])
def test_a_refusal_after_what_surely_did_nothing_is_a_refusal(nothing_done: Exception) -> None:
    with pytest.raises(RefusedError):
        calls(VirtualClock()).call("X", say(nothing_done, answer("No")))


@pytest.mark.parametrize("nothing_done", [answer("Throttling"), *NOT_SENT])
def test_what_did_nothing_after_a_lost_answer_leaves_the_outcome_unknown(nothing_done: Exception) -> None:
    with pytest.raises(UnknownOutcomeError):
        calls(VirtualClock()).call("X", say(LOST, nothing_done))


@pytest.mark.parametrize("nothing_done", [answer("Throttling"), *NOT_SENT])
def test_what_surely_did_nothing_may_be_asked_again(nothing_done: Exception) -> None:
    with pytest.raises(RetryError):
        calls(VirtualClock()).call("X", say(nothing_done))


def test_without_credentials_nothing_is_repeated_because_somebody_else_must_act() -> None:
    clock = VirtualClock()
    with pytest.raises(WaitError):
        calls(clock).call("X", say(NoCredentialsError()))
    assert clock.now() == EPOCH


def test_each_throttle_is_told_of_and_nothing_else() -> None:
    told: list[None] = []
    asked = calls(VirtualClock(), throttled=lambda: told.append(None))
    for error in (LOST, *NOT_SENT, answer("InternalError", 500), answer("No")):
        with suppress(AgentStackError, RefusedError):
            asked.call("X", say(error))
    assert told == []
    with pytest.raises(RefusedError):
        asked.call("X", say(answer("Throttling"), answer("Throttling"), answer("No")))
    assert len(told) == 2


@pytest.mark.parametrize("status", ["302", "403", "404", "408", "413", "500", "502", ""])
def test_the_page_of_a_gateway_is_no_refusal_by_aws(status: str) -> None:
    with pytest.raises(UnknownOutcomeError):
        calls(VirtualClock()).call("X", say(answer(status, int(status or 400))))


def test_no_pause_goes_past_the_deadline() -> None:
    clock = VirtualClock()
    with pytest.raises(RetryError):
        calls(clock, timedelta(milliseconds=10)).call("X", say(answer("Throttling")))
    assert clock.now() - EPOCH <= timedelta(milliseconds=10)


# --- conditional writes ---


def test_a_reissue_whose_answer_was_lost_is_known_by_the_credential_that_stands_there(dynamo: Tables) -> None:
    run = a_run().bound(a_vm(), now=EPOCH)
    dynamo.ledger.record([a_run()])
    dynamo.ledger.bind([(run, a_letter(run, a_vm()))])
    dynamo.vm_takes(a_vm().arn)
    dynamo.vm_reports(a_vm().arn, "credential_lost", "", 1.0)
    lose_next_answer(dynamo, "UpdateItem")
    assert dynamo.mailbox.reissue(a_vm().arn, "bkjat_anew")


def test_a_renewal_whose_answer_was_lost_before_the_vm_took_the_credential_is_unknown(dynamo: Tables) -> None:
    run = a_run().bound(a_vm(), now=EPOCH)
    dynamo.ledger.record([a_run()])
    dynamo.ledger.bind([(run, a_letter(run, a_vm()))])
    meanwhile(dynamo, "UpdateItem", lambda: dynamo.vm_takes(a_vm().arn))
    with pytest.raises(UnknownOutcomeError):
        dynamo.mailbox.renew(a_vm().arn, "bkjat_anew")


def meanwhile(dynamo: Tables, operation: str, happens: Callable[[], object]) -> None:
    """The next answer is lost, and that happens before the repeat."""
    answers: Iterator[Exception] = iter([LOST])

    def lose(**_: object) -> None:
        error = next(answers, None)
        if error is not None:
            happens()
            raise error

    dynamo.client.meta.events.register_first(f"after-call.dynamodb.{operation}", lose)


def test_a_write_whose_answer_was_lost_and_that_another_wrote_on_is_unknown_and_not_refused(dynamo: Tables) -> None:
    (run,) = dynamo.ledger.record([a_run()])
    ours = run.failing("ours")

    def another() -> None:
        (stored,) = another_process(dynamo).active_runs()
        another_process(dynamo).update([stored.failing("theirs")])

    meanwhile(dynamo, "TransactWriteItems", another)
    with pytest.raises(UnknownOutcomeError):
        dynamo.ledger.update([ours])


# --- launches ---


@pytest.fixture
def world() -> World:
    clock = VirtualClock()
    ec2 = Ec2(now=clock.now, settings=settings(), launch_templates=templates)
    return made(ec2, clock, None)


def test_a_refusal_of_a_launch_whose_first_answer_was_lost_is_no_proof_that_nothing_runs(world: World) -> None:
    answers: Iterator[Exception] = iter([LOST])

    def lose(**_: object) -> None:
        error = next(answers, None)
        if error is not None:
            world.ec2.faults.fail("CreateFleet", "UnauthorizedOperation")
            raise error

    world.fleet.client().meta.events.register_first("after-call.ec2.CreateFleet", lose)
    with pytest.raises(UnknownOutcomeError):
        world.launch(2)
    assert len(world.ec2.instances()) == 2


def test_a_token_that_was_used_already_says_that_a_fleet_may_run(world: World) -> None:
    world.ec2.faults.fail("CreateFleet", "IdempotentParameterMismatch")
    with pytest.raises(UnknownOutcomeError):
        world.launch(1)


def test_a_fleet_that_answers_nothing_may_have_launched(world: World) -> None:
    def nothing(parsed: dict[str, object], **_: object) -> None:
        parsed.pop("Instances", None)
        parsed.pop("Errors", None)

    world.fleet.client().meta.events.register("after-call.ec2.CreateFleet", nothing)
    with pytest.raises(UnknownOutcomeError):
        world.launch(2)
    assert len(world.fleet.describe()) == 2


def test_a_launch_that_is_refused_at_once_launched_nothing(world: World) -> None:
    world.ec2.faults.fail("CreateFleet", "UnauthorizedOperation")
    outcome = world.fleet.launch(world.fleet.render(world.order(1)))
    assert [error.error_class for error in outcome.errors] == [LaunchErrorClass.CONFIGURATION]


def test_an_end_that_names_other_instances_ended_none_of_ours(world: World) -> None:
    ours = world.launch(2)

    def another(parsed: dict[str, object], **_: object) -> None:
        parsed["TerminatingInstances"] = [{"InstanceId": "i-1"}]

    world.fleet.client().meta.events.register("after-call.ec2.TerminateInstances", another)
    assert set(world.fleet.terminate(ours)) == set(ours)


def test_no_filter_has_more_values_and_no_page_more_instances_than_ec2_takes(world: World) -> None:
    sizes: dict[str, list[int]] = {"values": [], "page": [], "ids": []}

    def look(params: dict[str, object], model: object, **_: object) -> None:
        for one in params.get("Filters", []):  # type: ignore[attr-defined]  # botocore's own
            sizes["values"].append(len(one["Values"]))
        sizes["page"].append(params.get("MaxResults", 0))  # type: ignore[arg-type]
        sizes["ids"].append(len(params.get("InstanceIds", [])))  # type: ignore[arg-type]

    world.fleet.client().meta.events.register("before-parameter-build.ec2", look)
    world.fleet.describe()
    world.fleet.impaired()
    world.fleet.describe_by_id([InstanceId(f"i-{number:017x}") for number in range(450)])
    world.fleet.terminate([InstanceId(f"i-{number:017x}") for number in range(1_100)])
    assert max(sizes["values"]) == 200
    assert max(sizes["page"]) == 1000
    assert 1 < max(sizes["ids"]) <= 1000
    assert SUBNETS


# --- Buildkite ---


def test_a_refusal_of_a_reservation_after_a_lost_answer_is_unknown() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack).registered()
        job_ids = desk.reserved()
        desk.buildkite.faults.lose_answer(Operation.RESERVE_JOBS)
        desk.buildkite.faults.fail(Operation.RESERVE_JOBS, status=422)
        (error,) = desk.client.reserve(QUEUE, job_ids, LEASE).errors
        assert isinstance(error, UnknownOutcomeError)


@pytest.mark.parametrize("then", [401, 403, 429])
def test_nothing_that_follows_a_lost_answer_says_that_nothing_happened(then: int) -> None:
    with ExitStack() as stack:
        desk = a_desk(stack, left=timedelta(seconds=2)).registered()
        job_ids = desk.reserved()
        desk.buildkite.faults.lose_answer(Operation.RESERVE_JOBS)
        desk.buildkite.faults.fail(Operation.RESERVE_JOBS, status=then, times=9)
        (error,) = desk.client.reserve(QUEUE, job_ids, LEASE).errors
        assert isinstance(error, UnknownOutcomeError)


def test_a_refused_read_after_a_lost_answer_is_a_refusal() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack).registered()
        desk.buildkite.faults.lose_answer(Operation.LIST_SCHEDULED_JOBS)
        desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=403)
        with pytest.raises(WaitError):
            desk.client.list_scheduled(QUEUE)


@pytest.mark.parametrize(("status", "content"), [(408, b"{}"), (500, b""), (200, b"<html>"), (200, b'{"a":')])
def test_a_finish_is_done_only_when_buildkite_says_so_and_is_sent_once(status: int, content: bytes) -> None:
    asked: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(status, content=content)

    with ExitStack() as stack:
        http = stack.enter_context(httpx.Client(transport=httpx.MockTransport(serve)))
        desk = a_desk(stack, http=http)
        with pytest.raises(UnknownOutcomeError):
            desk.client.finish(QUEUE, a_run().job_id, exit_status=-1, detail="")
    assert len(asked) == 1


def test_an_error_that_echoes_our_token_is_told_without_it() -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"message": f"what is {request.headers['Authorization']}?"})

    with ExitStack() as stack:
        http = stack.enter_context(httpx.Client(transport=httpx.MockTransport(serve)))
        desk = a_desk(stack, http=http)
        with pytest.raises(Exception, match="422") as error:
            desk.client.register(QUEUE)
        assert desk.token.agent_token() not in str(error.value)


def test_a_finish_is_not_asked_again_while_the_first_may_still_be_under_way() -> None:
    """A try may take 15 seconds, and a handover lets two trackers live for some."""
    assert timedelta(seconds=25) <= FINISH_SETTLES_AFTER <= timedelta(minutes=2)


def test_a_vm_is_not_missed_before_ec2_must_show_it() -> None:
    """EC2 says minutes; a VM that is up must not be given up because of one slow answer."""
    assert timedelta(minutes=5) <= ABSENCE_GRACE <= timedelta(minutes=30)
