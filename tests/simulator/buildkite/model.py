"""The simulated organisation: all its parts, put together once."""

from dataclasses import dataclass, field

from tests.simulator.buildkite.access_log import AccessLog
from tests.simulator.buildkite.agenda import Agenda
from tests.simulator.buildkite.agents import Agents
from tests.simulator.buildkite.builds import Builds
from tests.simulator.buildkite.deadlines import JobDeadlines
from tests.simulator.buildkite.events import EventBus
from tests.simulator.buildkite.holds import Holds
from tests.simulator.buildkite.identity import Identities
from tests.simulator.buildkite.jobs import Jobs
from tests.simulator.buildkite.notifications import Notifications
from tests.simulator.buildkite.oidc import OidcTokens
from tests.simulator.buildkite.queues import Queues
from tests.simulator.buildkite.rate_limits import SlidingWindows
from tests.simulator.buildkite.reservations import Reservations
from tests.simulator.buildkite.settings import Settings
from tests.simulator.buildkite.stacks import Stacks
from tests.simulator.buildkite.tokens import AcquisitionTokens, AgentTokens


@dataclass(slots=True, kw_only=True, eq=False)
class Model:
    """The parts of the organisation. Nothing here is safe to use from two threads at a time."""

    settings: Settings
    identities: Identities
    organization_id: str
    cluster_id: str
    agenda: Agenda
    events: EventBus
    access_log: AccessLog
    queues: Queues
    stacks: Stacks
    jobs: Jobs
    holds: Holds
    builds: Builds
    reservations: Reservations
    agent_tokens: AgentTokens
    acquisition_tokens: AcquisitionTokens
    oidc_tokens: OidcTokens
    agents: Agents
    notifications: Notifications
    windows: SlidingWindows
    meta_data: dict[tuple[str, str], str] = field(default_factory=dict)
    """Build meta-data by build id and key."""
    available: bool = True


def build_model(*, settings: Settings, seed: int, agent_token: str) -> Model:
    """An organisation with one cluster, no queue and no job yet."""
    identities = Identities(seed, token_form=settings.token_form, jwt_characters=settings.limits.jwt_characters)
    agenda, events = Agenda(), EventBus()
    limits = settings.limits
    jobs = Jobs(events)
    # The order matters: each of these acts on a job's transition, and a retry must come last, when
    # the job it replaces is settled.
    reservations = Reservations(jobs=jobs, agenda=agenda)
    JobDeadlines(jobs=jobs, agenda=agenda, expires_after=limits.scheduled_expires_after)
    holds = Holds(jobs=jobs, agenda=agenda)
    queues = Queues(
        agenda=agenda,
        events=events,
        disconnected_after=limits.queue_disconnected_after,
        aliases=dict.fromkeys(settings.default_queue_aliases, settings.default_queue),
    )
    builds = Builds(jobs=jobs, holds=holds, identities=identities, settings=settings)
    return Model(
        settings=settings,
        identities=identities,
        organization_id=identities.uuid(),
        cluster_id=identities.uuid(),
        agenda=agenda,
        events=events,
        access_log=AccessLog(),
        queues=queues,
        stacks=Stacks(identities=identities, events=events, quota=limits.stack_quota),
        jobs=jobs,
        holds=holds,
        builds=builds,
        reservations=reservations,
        agent_tokens=AgentTokens(identities=identities, first=agent_token),
        acquisition_tokens=AcquisitionTokens(identities=identities, reservations=reservations),
        oidc_tokens=OidcTokens(identities=identities, settings=settings, queues=queues),
        agents=Agents(
            identities=identities,
            agenda=agenda,
            events=events,
            jobs=jobs,
            reservations=reservations,
            lost_after=limits.agent_lost_after,
        ),
        notifications=Notifications(limits=limits, events=events),
        windows=SlidingWindows(),
    )
