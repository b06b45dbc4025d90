"""Agents: sessions that hold at most one job, and are lost when they fall silent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tests.simulator.buildkite.agenda import Agenda
from tests.simulator.buildkite.events import AgentDisconnected, AgentLost, AgentRegistered, EventBus
from tests.simulator.buildkite.identity import Identities, TokenPrefix
from tests.simulator.buildkite.job import Job, Outcome
from tests.simulator.buildkite.jobs import Jobs
from tests.simulator.buildkite.reservations import Reservations
from tests.simulator.buildkite.rules import Refusal
from tests.simulator.buildkite.states import ACQUIRABLE, OVER, JobState


class AgentState(StrEnum):
    """Where an agent's session stands."""

    REGISTERED = "registered"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent at one moment, for a test or a demo to look at."""

    id: str
    name: str
    queue_key: str
    tags: tuple[str, ...]
    state: AgentState
    for_job_id: str | None
    job_id: str | None
    registered_at: datetime
    last_heartbeat_at: datetime


@dataclass(slots=True, kw_only=True, eq=False)
class Agent:
    """The model's own record of an agent. `for_stack_key` and `for_job_id` come from its token."""

    id: str
    name: str
    queue_key: str
    tags: tuple[str, ...]
    access_token: str
    registered_at: datetime
    last_heartbeat_at: datetime
    state: AgentState = AgentState.REGISTERED
    for_job_id: str | None = None
    for_stack_key: str | None = None
    job_id: str | None = None

    def view(self) -> AgentView:
        """The agent as it is now."""
        return AgentView(
            id=self.id,
            name=self.name,
            queue_key=self.queue_key,
            tags=self.tags,
            state=self.state,
            for_job_id=self.for_job_id,
            job_id=self.job_id,
            registered_at=self.registered_at,
            last_heartbeat_at=self.last_heartbeat_at,
        )


class Agents:
    """Agents by id and by session token."""

    def __init__(
        self,
        *,
        identities: Identities,
        agenda: Agenda,
        events: EventBus,
        jobs: Jobs,
        reservations: Reservations,
        lost_after: timedelta,
    ) -> None:
        self._identities = identities
        self._agenda = agenda
        self._events = events
        self._jobs = jobs
        self._reservations = reservations
        self._lost_after = lost_after
        self._by_id: dict[str, Agent] = {}
        self._by_token: dict[str, Agent] = {}

    @property
    def all(self) -> tuple[Agent, ...]:
        """Every agent that ever registered, in order."""
        return tuple(self._by_id.values())

    def find(self, agent_id: str) -> Agent | None:
        """The agent with that id, if there is one."""
        return self._by_id.get(agent_id)

    def by_session(self, token: str) -> Agent | None:
        """The agent whose live session has that token; a lost or gone agent has none."""
        agent = self._by_token.get(token)
        return agent if agent is not None and self._is_live(agent) else None

    def register(
        self,
        *,
        name: str,
        queue_key: str,
        tags: tuple[str, ...],
        for_job_id: str | None,
        for_stack_key: str | None,
        at: datetime,
    ) -> Agent:
        """Open a session."""
        agent = Agent(
            id=self._identities.uuid(),
            name=name,
            queue_key=queue_key,
            tags=tags,
            access_token=self._identities.token(TokenPrefix.AGENT_SESSION),
            registered_at=at,
            last_heartbeat_at=at,
            for_job_id=for_job_id,
            for_stack_key=for_stack_key,
        )
        self._by_id[agent.id] = agent
        self._by_token[agent.access_token] = agent
        self._events.publish(
            AgentRegistered(at=at, agent_id=agent.id, name=name, queue_key=queue_key, for_job_id=for_job_id)
        )
        self.heard(agent, at)
        return agent

    def connect(self, agent: Agent, at: datetime) -> None:
        """The agent is up."""
        agent.state = AgentState.CONNECTED
        self.heard(agent, at)

    def heard(self, agent: Agent, at: datetime) -> None:
        """The agent gave a sign of life: it is lost only a full silence after this."""
        agent.last_heartbeat_at = at
        self._agenda.set(self._silence(agent), at + self._lost_after, lambda due: self._lose(agent, due))

    def disconnect(self, agent: Agent, at: datetime) -> None:
        """The agent says goodbye. A job it still holds is lost when its silence has lasted."""
        agent.state = AgentState.DISCONNECTED
        if agent.job_id is None:
            self._agenda.drop(self._silence(agent))
        self._events.publish(AgentDisconnected(at=at, agent_id=agent.id, name=agent.name))

    def acquire(self, agent: Agent, job: Job, at: datetime) -> None:
        """Give a job to an agent.

        Raises:
            Refusal: 403 for another job than the token's, 404 from the wrong queue, 422 when the job
                cannot be had (taken, over, held by another stack, or the agent is busy).
        """
        if agent.for_job_id not in {None, job.id}:
            raise Refusal(403, "This agent was registered for another job")
        if agent.queue_key != job.queue_key:
            raise Refusal(404, "No such job in this agent's queue")
        if job.state not in ACQUIRABLE:
            raise Refusal(422, f"The job cannot be acquired: it is {job.state.value}")
        if agent.job_id is not None:
            raise Refusal(422, "This agent is running a job already")
        reservation = self._reservations.of(job.id)
        held_by = reservation.stack_key if reservation else None
        if agent.for_stack_key is not None and held_by != agent.for_stack_key:
            raise Refusal(422, "The job cannot be acquired: its reservation is over")
        agent.job_id = job.id
        job.agent_id, job.agent_name = agent.id, agent.name
        self._jobs.move(job, JobState.ACCEPTED, at)

    def finish(self, agent: Agent, job: Job, outcome: Outcome, at: datetime) -> None:
        """End the agent's job as the agent says it ended."""
        self._jobs.end_with_agent(job, outcome, at)
        agent.job_id = None

    def _lose(self, agent: Agent, due: datetime) -> None:
        if self._is_live(agent):
            agent.state = AgentState.LOST
        job = self._jobs.find(agent.job_id) if agent.job_id is not None else None
        self._events.publish(AgentLost(at=due, agent_id=agent.id, name=agent.name, job_id=job.id if job else None))
        if job is not None and job.state not in OVER:
            agent.job_id = None
            lost = Outcome(exit_status=-1, signal_reason="agent_lost", detail="agent lost")
            self._jobs.end_with_agent(job, lost, due)

    @staticmethod
    def _is_live(agent: Agent) -> bool:
        return agent.state in {AgentState.REGISTERED, AgentState.CONNECTED}

    @staticmethod
    def _silence(agent: Agent) -> str:
        return f"agent {agent.id} is lost"
