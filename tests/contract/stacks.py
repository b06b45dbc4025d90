"""The real client of the Stacks API against the simulated Buildkite, over loopback or without sockets."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import httpx

from agent_stack.adapters.stacks_api import Dialect, HttpStacksApi
from agent_stack.adapters.stacks_api.caller import Caller
from agent_stack.domain.identifiers import JobId, QueueKey, StackKey
from agent_stack.domain.jobs import Queue
from tests.simulator.buildkite import Build, Buildkite, BuildkiteServer, Settings, Step, transport
from tests.simulator.buildkite import Dialect as Served
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry

QUEUE = QueueKey("default")
OTHER = QueueKey("linux.arm")
LEASE = timedelta(seconds=900)


class Token:
    """Where the client finds the agent token: as it stands with Buildkite, or as it was read before."""

    def __init__(self, buildkite: Buildkite) -> None:
        self._buildkite = buildkite
        self._stored_reason = buildkite.agent_token
        self.reads = 0

    def agent_token(self, *, fresh: bool = False) -> str:
        """See the port."""
        if fresh:
            self.reads += 1
            self._stored_reason = self._buildkite.agent_token
        return self._stored_reason


@dataclass(kw_only=True)
class Desk:
    """A client and what it talks to."""

    buildkite: Buildkite
    client: HttpStacksApi
    clock: VirtualClock
    telemetry: RecordedTelemetry
    token: Token

    def push(self, *steps: Step) -> list[JobId]:
        """Jobs of a new build."""
        build: Build = self.buildkite.create_build(steps=steps)
        return [JobId(job_id) for job_id in build.job_ids]

    def registered(self, *queues: QueueKey) -> "Desk":
        """With the queues' stacks known."""
        for queue in queues or (QUEUE,):
            self.client.register(queue)
        return self

    def reserved(self, *steps: Step) -> list[JobId]:
        """Jobs of a new build, reserved."""
        job_ids = self.push(*(steps or (Step(),)))
        self.client.reserve(QUEUE, job_ids, LEASE)
        return job_ids

    def requests(self, operation: str) -> int:
        """How many requests of an operation arrived."""
        return sum(record.operation == operation for record in self.buildkite.access_log())

    def said(self) -> str:
        """Everything that was logged."""
        return repr(self.telemetry.records)


Carrier = Callable[[Buildkite, ExitStack], httpx.Client]


def in_process(buildkite: Buildkite, stack: ExitStack) -> httpx.Client:
    """Without sockets."""
    return stack.enter_context(httpx.Client(transport=transport(buildkite)))


def over_http(buildkite: Buildkite, stack: ExitStack) -> httpx.Client:
    """Over loopback; requests for the usual base URL go to the server's port."""
    server = stack.enter_context(BuildkiteServer(buildkite))
    port = int(server.url.split(":")[2].split("/")[0])

    def redirect(request: httpx.Request) -> None:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)

    return stack.enter_context(httpx.Client(event_hooks={"request": [redirect]}, trust_env=False))


def a_desk(
    stack: ExitStack,
    *,
    carrier: Carrier = in_process,
    served: Served = Served.CURRENT,
    dialect: Dialect | None = None,
    job_tokens: bool | None = None,
    queues: Sequence[QueueKey] = (QUEUE, OTHER),
    settings: Settings | None = None,
    left: timedelta = timedelta(seconds=60),
    http: httpx.Client | None = None,
) -> Desk:
    """A client that knows nothing yet."""
    clock, ids, telemetry = VirtualClock(), SeededIds(), RecordedTelemetry()
    buildkite = Buildkite(
        now=clock.now, settings=settings or Settings(dialects=frozenset({served})), queues=("default", "linux.arm")
    )
    token = Token(buildkite)
    client = HttpStacksApi(
        caller=Caller(
            base_url="http://buildkite.invalid/v3",
            http=http or carrier(buildkite, stack),
            secrets=token,
            clock=clock,
            ids=ids,
            deadline=FixedDeadline(left),
            telemetry=telemetry,
        ),
        queues=[Queue(key=queue, stack_key=StackKey(f"stack-{queue.replace('.', '-')}")) for queue in queues],
        dialect=dialect,
        job_tokens=served is Served.CURRENT if job_tokens is None else job_tokens,
        metadata={"version": "1", "region": "eu-central-1"},
        telemetry=telemetry,
    )
    return Desk(buildkite=buildkite, client=client, clock=clock, telemetry=telemetry, token=token)
