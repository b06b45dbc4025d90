"""The operations of the Agent API that an agent needs to acquire and run one job."""

import gzip
import zlib
from collections.abc import Mapping
from contextlib import suppress

from tests.simulator.buildkite.access_log import Actor, ActorKind
from tests.simulator.buildkite.agents import Agent
from tests.simulator.buildkite.body import Fields, iso
from tests.simulator.buildkite.call import Answer, Call, Handler
from tests.simulator.buildkite.job import Job, Outcome
from tests.simulator.buildkite.model import Model
from tests.simulator.buildkite.operations import Operation
from tests.simulator.buildkite.rules import Refusal, Rule
from tests.simulator.buildkite.states import OVER, JobState

_QUEUE_TAG = "queue="


class AgentApi:
    """Serves agents. Each operation authorises its own caller: the credential changes along the way."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def handlers(self) -> Mapping[Operation, Handler]:
        """The handler of each operation."""
        return {
            Operation.AGENT_REGISTER: self._register,
            Operation.AGENT_CONNECT: self._connect,
            Operation.AGENT_HEARTBEAT: self._heartbeat,
            Operation.AGENT_PING: self._ping,
            Operation.AGENT_STOP: self._ping,
            Operation.AGENT_DISCONNECT: self._disconnect,
            Operation.AGENT_ACQUIRE_JOB: self._acquire,
            Operation.AGENT_GET_JOB: self._get_job,
            Operation.AGENT_START_JOB: self._start,
            Operation.AGENT_UPLOAD_CHUNK: self._chunk,
            Operation.AGENT_HEADER_TIMES: self._accepted,
            Operation.AGENT_FINISH_JOB: self._finish,
            Operation.JOB_DATA_EXISTS: self._data_exists,
            Operation.JOB_DATA_SET: self._data_set,
            Operation.JOB_DATA_GET: self._data_get,
            Operation.JOB_DATA_KEYS: self._data_keys,
            Operation.JOB_ANNOTATE: self._accepted,
            Operation.JOB_ARTIFACTS: self._accepted,
            Operation.JOB_OIDC_TOKEN: self._oidc_token,
            Operation.OIDC_DISCOVERY: lambda _: Answer(body=self._model.oidc_tokens.discovery()),
            Operation.OIDC_KEYS: lambda _: Answer(body=self._model.oidc_tokens.jwks()),
        }

    def _register(self, call: Call) -> Answer:
        for_job_id, for_stack_key = self._registering(call)
        fields = Fields.of(call.request)
        tags = tuple(fields.texts("meta_data"))
        name = fields.text("name")
        if not name or any("=" not in tag for tag in tags):
            raise Refusal(422, "an agent needs a name and tags of the form key=value", rule=Rule.AGENT_REGISTRATION)
        queues = [tag.removeprefix(_QUEUE_TAG) for tag in tags if tag.startswith(_QUEUE_TAG)]
        queue_key = queues[0] if queues else self._model.settings.default_queue
        if self._model.queues.find(queue_key) is None:
            raise Refusal(404, f"Queue not found: {queue_key}")
        agent = self._model.agents.register(
            name=name,
            queue_key=queue_key,
            tags=tags,
            for_job_id=for_job_id,
            for_stack_key=for_stack_key,
            at=call.now,
        )
        call.trace.about([for_job_id] if for_job_id else [])
        settings = self._model.settings
        return Answer(
            body={
                "id": agent.id,
                "name": agent.name,
                "access_token": agent.access_token,
                "endpoint": "",
                "ping_interval": settings.ping_interval_seconds,
                "job_status_interval": settings.job_status_interval_seconds,
                "heartbeat_interval": settings.heartbeat_interval_seconds,
                "meta_data": list(tags),
            }
        )

    def _registering(self, call: Call) -> tuple[str | None, str | None]:
        """The job and the stack that the registration token is for; None for an agent token."""
        value = call.token or ""
        agent_token = self._model.agent_tokens.find(value)
        if agent_token is not None:
            call.trace.actor = Actor(kind=ActorKind.AGENT_TOKEN, id=agent_token.uuid)
            return None, None
        token = self._model.acquisition_tokens.find(value)
        if token is None:
            raise Refusal(401, "The registration token is missing, wrong or expired")
        call.trace.actor = Actor(kind=ActorKind.ACQUISITION_TOKEN, id=token.job_id)
        self._model.acquisition_tokens.spend(token, call.now)
        return token.job_id, token.stack_key

    def _connect(self, call: Call) -> Answer:
        self._model.agents.connect(self._agent(call), call.now)
        return Answer(body={})

    def _heartbeat(self, call: Call) -> Answer:
        self._agent(call)
        return Answer(body={"sent_at": Fields.of(call.request).raw("sent_at"), "received_at": iso(call.now)})

    def _ping(self, call: Call) -> Answer:
        self._agent(call)
        return Answer(body={})

    def _disconnect(self, call: Call) -> Answer:
        agent = self._agent(call)
        call.trace.about([agent.for_job_id] if agent.for_job_id else [])
        self._model.agents.disconnect(agent, call.now)
        return Answer(body={})

    def _acquire(self, call: Call) -> Answer:
        agent = self._agent(call)
        job = self._job(call)
        self._model.agents.acquire(agent, job, call.now)
        settings = self._model.settings
        env = {**job.env, "BUILDKITE_AGENT_NAME": agent.name, "BUILDKITE_AGENT_ID": agent.id}
        return Answer(
            body={
                "id": job.id,
                "token": job.token,
                "state": job.state.value,
                "env": env,
                "chunks_max_size_bytes": settings.limits.chunk_bytes,
                "chunks_interval_seconds": settings.chunks_interval_seconds,
                "log_max_size_bytes": 0,
            }
        )

    def _get_job(self, call: Call) -> Answer:
        job, _ = self._held(call)
        return Answer(body={"id": job.id, "state": job.state.value})

    def _start(self, call: Call) -> Answer:
        job, _ = self._held(call)
        if job.state is JobState.ACCEPTED:
            self._model.jobs.move(job, JobState.RUNNING, call.now)
        elif job.state in OVER:
            raise Refusal(422, f"The job cannot be started: it is {job.state.value}")
        return Answer(body={})

    def _chunk(self, call: Call) -> Answer:
        job, _ = self._held(call)
        query = call.request.args
        data: bytes | None = None
        with suppress(OSError, EOFError, zlib.error):
            data = gzip.decompress(call.request.get_data())
        stated = (query.get("sequence", ""), query.get("offset", ""), query.get("size", ""))
        if data is None or not all(number.isdecimal() for number in stated) or len(data) != int(stated[2]):
            raise Refusal(422, "the chunk is not gzip of the stated size", rule=Rule.CHUNK)
        if len(data) > self._model.settings.limits.chunk_bytes:
            raise Refusal(413, "the chunk is too large", rule=Rule.CHUNK)
        job.log.add(sequence=int(stated[0]), data=data)
        return Answer(status=201, body={})

    def _finish(self, call: Call) -> Answer:
        job, agent = self._held(call)
        fields = Fields.of(call.request)
        if job.state in OVER:
            raise Refusal(422, f"The job is over already: it is {job.state.value}")
        try:
            exit_status = int(fields.text("exit_status"))
        except ValueError:
            raise Refusal(422, "exit_status is not a number", rule=Rule.REQUIRED_FIELD) from None
        outcome = Outcome(
            exit_status=exit_status,
            signal=fields.optional_text("signal") or None,
            signal_reason=fields.optional_text("signal_reason") or None,
        )
        self._model.agents.finish(agent, job, outcome, call.now)
        return Answer(body={})

    def _accepted(self, call: Call) -> Answer:
        self._held(call)
        return Answer(body={})

    def _data_exists(self, call: Call) -> Answer:
        job, _ = self._held(call)
        key = Fields.of(call.request).text("key")
        return Answer(body={"exists": (job.build.id, key) in self._model.meta_data})

    def _data_set(self, call: Call) -> Answer:
        job, _ = self._held(call)
        fields = Fields.of(call.request)
        self._model.meta_data[job.build.id, fields.text("key")] = fields.text("value")
        return Answer(body={})

    def _data_get(self, call: Call) -> Answer:
        job, _ = self._held(call)
        key = Fields.of(call.request).text("key")
        value = self._model.meta_data.get((job.build.id, key))
        if value is None:
            raise Refusal(404, f"No meta-data under {key}")
        return Answer(body={"key": key, "value": value})

    def _data_keys(self, call: Call) -> Answer:
        job, _ = self._held(call)
        return Answer(body={"keys": sorted(key for build_id, key in self._model.meta_data if build_id == job.build.id)})

    def _oidc_token(self, call: Call) -> Answer:
        job, agent = self._held(call)
        if job.state in OVER:
            raise Refusal(422, f"The job is over: it is {job.state.value}")
        token = self._model.oidc_tokens.issue(
            Fields.of(call.request),
            job,
            agent,
            organization_id=self._model.organization_id,
            cluster_id=self._model.cluster_id,
            at=call.now,
        )
        return Answer(body={"token": token})

    def _agent(self, call: Call) -> Agent:
        """The agent whose session token the request came with; a sign of life."""
        agent = self._model.agents.by_session(call.token or "")
        if agent is None:
            raise Refusal(401, "The session token is missing, wrong or over")
        call.trace.actor = Actor(kind=ActorKind.AGENT, id=agent.id)
        self._model.agents.heard(agent, call.now)
        return agent

    def _job(self, call: Call) -> Job:
        call.trace.about([call.job_id])
        job = self._model.jobs.find(call.job_id)
        if job is None:
            raise Refusal(404, "Job not found")
        return job

    def _held(self, call: Call) -> tuple[Job, Agent]:
        """The job in the path and the agent that has it, by the job's token or by the agent's session."""
        job = self._job(call)
        agent = self._model.agents.find(job.agent_id) if job.agent_id is not None else None
        if agent is None:
            raise Refusal(404, "Job not found: no agent has it")
        if call.token == job.token:
            call.trace.actor = Actor(kind=ActorKind.JOB, id=job.id)
            self._model.agents.heard(agent, call.now)
        elif self._agent(call) is not agent:
            raise Refusal(403, "Another agent has this job")
        return job, agent
