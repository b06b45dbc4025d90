"""No answer of a service, however malformed, leaves an adapter as anything but an error of our own.

Real answers are changed in the bodies that botocore and httpx parse. Nightly: `--hypothesis-profile=nightly`.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import boto3
import httpx
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.dynamodb import DynamoLedger
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ssm import parameters
from agent_stack.adapters.ssm.parameters import Parameters
from agent_stack.adapters.stacks_api import Dialect
from agent_stack.domain.classes import InstanceRequirements
from agent_stack.domain.errors import AgentStackError, UnknownOutcomeError
from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import InstanceId, IntentId, JobId
from agent_stack.domain.launching import Intent, VmLook
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType, Outcome
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import Waiting, WaitingList, WaitReason
from agent_stack.ports import HeldLease, Notification
from tests.contract.fleets import SUBNETS, Computers, World, made, templates
from tests.contract.fleets import settings as ec2_settings
from tests.contract.mutations import PAGES, json_answers, xml_answers
from tests.contract.stacks import LEASE, QUEUE, Desk, a_desk
from tests.contract.tables import Tables
from tests.simulator.buildkite import Step
from tests.simulator.clock import EPOCH, FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2
from tests.simulator.identity import SeededIds
from tests.unit.values import a_letter, a_run, a_vm

pytestmark = pytest.mark.share(4)

HELD = HeldLease(holder="me", fence=1, signals=0, expires_at=EPOCH, successor=None)
TTL = timedelta(seconds=9)
ANSWERED = [200, 200, 200, 200, 400, 404, 500, 503, 302]


class Body(io.BytesIO):
    """As urllib3 would stream it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


ANSWERS: dict[int, tuple[int, bytes]] = {}


def answer_with(client: Any, service: str, status: int, body: bytes) -> None:  # noqa: ANN401  (any client)
    """Answer every request of that client so, without sockets."""
    made_before = id(client) in ANSWERS
    ANSWERS[id(client)] = (status, body)
    if made_before:
        return

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        now, content = ANSWERS[id(client)]
        return AWSResponse(request.url, now, HTTPHeaders(), Body(content))

    client.meta.events.register_first(f"before-send.{service}", answer)


def record_bodies(client: Any, service: str, into: dict[str, bytes]) -> None:  # noqa: ANN401  (any client)
    """Keep the body of the last answer to each operation."""

    def keep(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:  # noqa: ANN401
        into[operation_model.name] = bytes(response_dict["body"])

    for operation in client.meta.service_model.operation_names:  # before what reads one operation's answers
        client.meta.events.register_first(f"before-parse.{service}.{operation}", keep)


def allowed(ask: Callable[[], object]) -> None:
    """What an adapter may do with any answer: give a result, or raise an error of our own."""
    with suppress(AgentStackError):
        ask()


# --- DynamoDB ---


def bound() -> tuple[Run, Vm]:
    return a_run().bound(a_vm(), now=EPOCH), a_vm()


def waiting() -> Waiting:
    run = a_run()
    return Waiting(
        job_id=run.job_id, queue_key=run.queue_key, class_name=run.class_name, reason=WaitReason.QUOTA, words=""
    )


def a_hold() -> Hold:
    return Hold(instance_id=a_vm().instance_id, arn=a_vm().arn, class_name=a_run().class_name, until=EPOCH)


def intent() -> Intent:
    return Intent(
        intent_id=IntentId("as-1"),
        class_name=a_run().class_name,
        request="{}",
        count=1,
        queues=(QUEUE,),
        created_at=EPOCH,
        vms=(a_vm(),),
    )


READS: dict[str, tuple[str, Callable[[Tables], object]]] = {
    "active runs": ("Query", lambda t: t.ledger.active_runs()),
    "refreshed runs": ("Query", lambda t: t.ledger.refreshed_runs()),
    "launched": ("BatchGetItem", lambda t: t.ledger.launched()),
    "bound instances": ("Query", lambda t: t.ledger.bound_instances()),
    "open intents": ("Query", lambda t: t.ledger.open_intents()),
    "launch memory": ("Query", lambda t: t.ledger.launch_memory()),
    "waiting": ("Query", lambda t: t.ledger.waiting()),
    "holds": ("Query", lambda t: t.ledger.holds()),
    "earlier": ("BatchGetItem", lambda t: t.ledger.earlier([a_run().job_id])),
    "mailbox": ("BatchGetItem", lambda t: t.mailbox.read([a_vm().arn])),
    "programs": ("BatchGetItem", lambda t: t.programs.published()),
}
WRITES: dict[str, tuple[str, Callable[[Tables], object]]] = {
    "record": ("TransactWriteItems", lambda t: t.ledger.record([a_run()])),
    "update": ("TransactWriteItems", lambda t: t.ledger.update([a_run().failing("x")])),
    "bind": ("TransactWriteItems", lambda t: t.ledger.bind([(bound()[0], a_letter(*bound()))])),
    "end": ("TransactWriteItems", lambda t: t.ledger.end([a_run(attempt=1).ended(Outcome.LOST, now=EPOCH)])),
    "close mailbox": ("TransactWriteItems", lambda t: t.ledger.close_mailboxes([a_vm(2).arn])),
    "intent": ("TransactWriteItems", lambda t: t.ledger.write_intent(intent(), fence=1)),
    "claim": ("TransactWriteItems", lambda t: t.ledger.claim_notices([waiting()])),
    "spend": ("UpdateItem", lambda t: t.ledger.spend_intent(intent())),
    "look": ("UpdateItem", lambda t: t.ledger.record_look(VmLook(taken=1, launched=1, at=EPOCH))),
    "close": ("DeleteItem", lambda t: t.ledger.close_intent(IntentId("as-1"))),
    "remember": ("PutItem", lambda t: t.ledger.list_waiting(WaitingList(at=EPOCH))),
    "record holds": ("PutItem", lambda t: t.ledger.record_holds(Holds().adding(a_hold()).next_version())),
    "tell of a hold": ("UpdateItem", lambda t: t.mailbox.hold(a_vm().arn, 600)),
    "take": ("UpdateItem", lambda t: t.dispatcher_lease.acquire("me", now=EPOCH, ttl=TTL)),
    "hold": ("UpdateItem", lambda t: t.dispatcher_lease.renew(HELD, now=EPOCH, ttl=TTL)),
    "release": ("UpdateItem", lambda t: t.dispatcher_lease.release(HELD)),
    "signal": ("UpdateItem", lambda t: t.dispatcher_lease.signal("me", handover=True)),
    "renew": ("UpdateItem", lambda t: t.mailbox.renew(a_vm().arn, "c")),
    "reissue": ("UpdateItem", lambda t: t.mailbox.reissue(a_vm().arn, "c")),
    "revoke": ("UpdateItem", lambda t: t.mailbox.revoke_credential(a_vm().arn)),
    "remove program": ("DeleteItem", lambda t: t.programs.remove("0" * 64)),
}
DYNAMO = READS | WRITES


@cache
def real_dynamodb_answers() -> dict[str, bytes]:
    """The body of a real answer to each call, of a table with one of everything."""
    found: dict[str, bytes] = {}
    with mock_aws():
        tables = Tables()
        bodies: dict[str, bytes] = {}
        record_bodies(tables.client, "dynamodb", bodies)
        WRITES["take"][1](tables)
        accepted = {"UpdateItem": bodies["UpdateItem"]}
        for name in (
            "record",
            "bind",
            "intent",
            "spend",
            "look",
            "claim",
            "remember",
            "record holds",
            "remove program",
        ):
            WRITES[name][1](tables)
            accepted.setdefault(WRITES[name][0], bodies[WRITES[name][0]])
        for name, (operation, ask) in READS.items():
            assert isinstance(tables.ledger, DynamoLedger)
            tables.ledger = replace(tables.ledger)  # one that knows no runs yet
            ask(tables)
            found[name] = bodies[operation]
        found |= {name: accepted[operation] for name, (operation, _) in WRITES.items()}
    return found


@cache
def the_tables() -> Tables:
    with mock_aws():
        return Tables()


def tables_answering(status: int, body: bytes) -> Tables:
    """Tables whose every answer is that."""
    tables = the_tables()
    assert isinstance(tables.ledger, DynamoLedger)
    tables.ledger = replace(tables.ledger)  # one that knows no runs yet
    answer_with(tables.client, "dynamodb", status, body)
    return tables


@settings(deadline=None)
@given(st.data())
def test_no_answer_of_dynamodb_leaves_as_anything_but_our_own_error(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(DYNAMO)))
    body = data.draw(json_answers(real_dynamodb_answers()[name]))
    tables = tables_answering(data.draw(st.sampled_from(ANSWERED)), body)
    allowed(lambda: DYNAMO[name][1](tables))


@settings(deadline=None)
@given(st.data())
def test_a_200_to_a_write_counts_only_with_the_members_of_a_real_one(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(WRITES)))
    body = data.draw(json_answers(real_dynamodb_answers()[name]))
    try:
        real = json.loads(body)["ConsumedCapacity"] is not None  # its own type is for botocore's parser
    except (KeyError, TypeError, ValueError, RecursionError):
        real = False
    tables = tables_answering(200, body)
    if real:
        allowed(lambda: WRITES[name][1](tables))
    else:
        with pytest.raises(UnknownOutcomeError):
            WRITES[name][1](tables)


@pytest.mark.parametrize("name", sorted(WRITES))
def test_a_page_of_a_proxy_is_no_success_of_a_write(name: str) -> None:
    for page in PAGES:
        with pytest.raises(UnknownOutcomeError):
            WRITES[name][1](tables_answering(200, page))


@pytest.mark.parametrize("name", sorted(READS))
def test_a_page_of_a_proxy_is_no_empty_table(name: str) -> None:
    for page in PAGES:
        with pytest.raises(UnknownOutcomeError):
            READS[name][1](tables_answering(200, page))


# --- EC2 ---

FLEET: dict[str, tuple[str, Callable[[World], object]]] = {
    "launch": ("CreateFleet", lambda w: w.fleet.launch(REQUEST[0])),
    "describe": ("DescribeInstances", lambda w: w.fleet.describe()),
    "describe by id": ("DescribeInstances", lambda w: w.fleet.describe_by_id([InstanceId("i-1")])),
    "terminate": ("TerminateInstances", lambda w: w.fleet.terminate([InstanceId("i-1")])),
    "console": ("GetConsoleOutput", lambda w: w.fleet.console_output(InstanceId("i-1"))),
    "impaired": ("DescribeInstanceStatus", lambda w: w.fleet.impaired()),
}
REQUEST: list[str] = []


@cache
def real_ec2_answers() -> dict[str, bytes]:
    clock = VirtualClock()
    ec2 = Ec2(now=clock.now, settings=ec2_settings(), launch_templates=templates, machines=Computers())
    world = made(ec2, clock, None)
    bodies: dict[str, bytes] = {}
    record_bodies(world.fleet.client(), "ec2", bodies)
    REQUEST.append(world.fleet.render(world.order(2)))
    world.fleet.launch(REQUEST[0])
    found = {"CreateFleet": bodies["CreateFleet"]}
    (first, *_) = world.fleet.describe()
    found["DescribeInstances"] = bodies["DescribeInstances"]
    world.fleet.console_output(first.instance_id)
    world.fleet.impaired()
    world.fleet.terminate([first.instance_id])
    return {**bodies, **found}


@cache
def a_fleet(*, lean: bool) -> World:
    """A fleet whose answers come from `answer_with` alone."""
    clock = VirtualClock()
    world = made(Ec2(now=clock.now, settings=ec2_settings(), launch_templates=templates), clock, "http://127.0.0.1:9")
    world.fleet.subnets._zones.update({name: subnet.zone for name, subnet in SUBNETS.items()})
    if not lean:
        world.fleet.client().meta.events.unregister("before-parse.ec2.DescribeInstances", unique_id="agent-stack-lean")
    return world


def shown(vms: object) -> None:
    """Every fact of a VM has its type, or a later step fails on it."""
    for vm in vms if isinstance(vms, list) else []:
        assert vm.instance_id
        assert vm.launched_at.tzinfo is not None
        assert all(isinstance(text, str) for text in (vm.instance_type, vm.zone, vm.reason))


@settings(deadline=None)
@given(st.data(), st.booleans())
def test_no_answer_of_ec2_leaves_as_anything_but_our_own_error(data: st.DataObject, lean: bool) -> None:  # noqa: FBT001  (drawn)
    answers = real_ec2_answers()
    name = data.draw(st.sampled_from(sorted(FLEET)))
    operation, ask = FLEET[name]
    world = a_fleet(lean=lean)
    body = data.draw(xml_answers(answers[operation]))
    answer_with(world.fleet.client(), "ec2", data.draw(st.sampled_from(ANSWERED)), body)
    allowed(lambda: shown(ask(world)))


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("name", sorted(FLEET.keys() - {"terminate"}))
def test_a_page_of_a_proxy_is_no_answer_of_ec2(name: str, lean: bool) -> None:  # noqa: FBT001  (a parameter)
    real_ec2_answers()
    for page in PAGES:
        world = a_fleet(lean=lean)
        answer_with(world.fleet.client(), "ec2", 200, page)
        with pytest.raises(UnknownOutcomeError):
            FLEET[name][1](world)


def test_a_page_of_a_proxy_ends_no_vm() -> None:
    world = a_fleet(lean=True)
    for page in PAGES:
        answer_with(world.fleet.client(), "ec2", 200, page)
        assert set(world.fleet.terminate([InstanceId("i-1")])) == {"i-1"}


def a_catalog(client: Any) -> Ec2InstanceCatalog:  # noqa: ANN401  (any client)
    clock = VirtualClock()
    calls = AwsCalls(
        clock=clock, ids=SeededIds(), deadline=FixedDeadline(), throttles=frozenset(), server_errors=frozenset()
    )
    return Ec2InstanceCatalog(
        client=lambda: client,
        calls=calls,
        instance_types=Ec2InstanceTypes(client=lambda: client, calls=calls),
        parameter=lambda _: "ami-1",
        clock=clock,
    )


WANTED = InstanceRequirements(vcpus_min=1, memory_gib_min=1, architecture="x86_64")
TYPES = (
    b"<GetInstanceTypesFromInstanceRequirementsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
    b"<requestId>r</requestId><instanceTypeSet><item><instanceType>m7i.large</instanceType></item></instanceTypeSet>"
    b"</GetInstanceTypesFromInstanceRequirementsResponse>"
)
IMAGES = (
    b"<DescribeImagesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><requestId>r</requestId><imagesSet>"
    b"<item><imageId>ami-1</imageId><rootDeviceName>/dev/xvda</rootDeviceName></item></imagesSet>"
    b"</DescribeImagesResponse>"
)


FACTS = (
    b"<DescribeInstanceTypesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><requestId>r</requestId>"
    b"<instanceTypeSet><item><instanceType>m7i.large</instanceType><vCpuInfo><defaultVCpus>2</defaultVCpus></vCpuInfo>"
    b"<memoryInfo><sizeInMiB>8192</sizeInMiB></memoryInfo></item></instanceTypeSet></DescribeInstanceTypesResponse>"
)
FOUND_SUBNETS = (
    b"<DescribeSubnetsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><requestId>r</requestId><subnetSet>"
    b"<item><subnetId>subnet-a</subnetId><availabilityZone>eu-central-1a</availabilityZone>"
    b"<availableIpAddressCount>9</availableIpAddressCount></item></subnetSet></DescribeSubnetsResponse>"
)
LOOKED_UP: dict[str, tuple[bytes, Callable[[World], object]]] = {
    "types": (TYPES, lambda w: a_catalog(w.fleet.client()).types(WANTED, CapacityType.SPOT)),
    "facts": (FACTS, lambda w: a_catalog(w.fleet.client()).instance_types.vcpus(["m7i.large"])),
    "root device": (IMAGES, lambda w: a_catalog(w.fleet.client()).root_device("ami-1")),
    "subnets": (FOUND_SUBNETS, lambda w: w.fleet.subnets.by_zone()),
}


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(LOOKED_UP)))
def test_no_answer_about_types_images_or_subnets_leaves_as_anything_but_our_own_error(
    data: st.DataObject, name: str
) -> None:
    world = a_fleet(lean=False)
    body, ask = LOOKED_UP[name]
    answer_with(world.fleet.client(), "ec2", data.draw(st.sampled_from(ANSWERED)), data.draw(xml_answers(body)))
    world.fleet.subnets._due = None
    allowed(lambda: ask(world))


# --- SSM ---

PARAMETER = b'{"Parameter": {"Name": "x", "Type": "SecureString", "Value": "secret", "Version": 1}}'


@cache
def an_ssm() -> Any:  # noqa: ANN401  (a client)
    return boto3.client("ssm", region_name="eu-central-1", aws_access_key_id="A", aws_secret_access_key="s")


@settings(deadline=None)
@given(st.sampled_from(ANSWERED), json_answers(PARAMETER))
def test_no_answer_of_ssm_leaves_as_anything_but_our_own_error(status: int, body: bytes) -> None:
    client = an_ssm()
    answer_with(client, "ssm", status, body)
    calls = AwsCalls(
        clock=VirtualClock(),
        ids=SeededIds(),
        deadline=FixedDeadline(),
        throttles=parameters.THROTTLES,
        server_errors=parameters.SERVER_ERRORS,
    )
    allowed(lambda: Parameters(client=lambda: client, calls=calls).read("x", setting="S", remedy="R"))


def test_an_empty_parameter_is_no_value() -> None:
    client = an_ssm()
    answer_with(client, "ssm", 200, PARAMETER.replace(b"secret", b""))
    calls = AwsCalls(
        clock=VirtualClock(),
        ids=SeededIds(),
        deadline=FixedDeadline(),
        throttles=parameters.THROTTLES,
        server_errors=parameters.SERVER_ERRORS,
    )
    with pytest.raises(UnknownOutcomeError):
        Parameters(client=lambda: client, calls=calls).read("x", setting="S", remedy="R")


# --- Buildkite ---

JOB = JobId("0190d2f8-0000-4000-8000-000000000001")
BUILDKITE: dict[str, Callable[[Desk, JobId], object]] = {
    "register": lambda d, _: d.client.register(QUEUE),
    "identity": lambda d, _: d.client.token_identity(),
    "list": lambda d, _: d.client.list_scheduled(QUEUE),
    "reserve": lambda d, j: d.client.reserve(QUEUE, [j], LEASE),
    "states": lambda d, j: d.client.job_states(QUEUE, [j]),
    "details": lambda d, j: d.client.job_details(QUEUE, j),
    "tokens": lambda d, j: d.client.issue_tokens(QUEUE, [j], LEASE),
    "notify": lambda d, j: d.client.notify(QUEUE, [Notification(job_id=j, text="x", at=EPOCH)]),
    "finish": lambda d, j: d.client.finish(QUEUE, j, exit_status=-1, detail="x"),
    "deregister": lambda d, _: d.client.deregister(QUEUE),
}


@cache
def real_buildkite_answers() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with ExitStack() as stack:
        desk = a_desk(stack)
        (job,) = desk.registered().push(Step())

        def keep(response: httpx.Response) -> None:
            response.read()
            found["?"] = response.content

        desk.client._caller._http.event_hooks = {"response": [keep]}
        for name, ask in BUILDKITE.items():
            ask(desk, job)
            found[name] = found["?"] or b"{}"
    return found


@settings(deadline=None)
@given(st.data())
def test_no_answer_of_buildkite_leaves_as_anything_but_our_own_error(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BUILDKITE)))
    status = data.draw(st.sampled_from(ANSWERED))
    body = data.draw(json_answers(real_buildkite_answers()[name]))
    with ExitStack() as stack:
        transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
        http = stack.enter_context(httpx.Client(transport=transport))
        desk = a_desk(stack, http=http, dialect=Dialect.CURRENT)
        allowed(lambda: BUILDKITE[name](desk, JOB))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in (b"", b"{}", b"[]", b"null") and b"{" not in page[1:]]
)
def test_a_page_of_a_proxy_finishes_no_job(page: bytes) -> None:
    if page.startswith(b"{") and page.endswith(b"}"):
        pytest.skip("an object is what Buildkite answers")
    with ExitStack() as stack:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=page))
        desk = a_desk(stack, http=stack.enter_context(httpx.Client(transport=transport)))
        with pytest.raises(UnknownOutcomeError):
            BUILDKITE["finish"](desk, JOB)


def test_the_real_answers_are_accepted_or_the_changed_ones_prove_nothing() -> None:
    for name, body in real_dynamodb_answers().items():
        DYNAMO[name][1](tables_answering(200, body))
    for operation, body in real_ec2_answers().items():
        for lean in (True, False):
            world = a_fleet(lean=lean)
            answer_with(world.fleet.client(), "ec2", 200, body)
            for of, ask in FLEET.values():
                if of == operation:
                    ask(world)
