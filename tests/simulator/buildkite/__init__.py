"""A simulated Buildkite: the Stacks API in both dialects, and the Agent API as far as one job needs it.

`Buildkite` is the model with its front; `BuildkiteServer` puts it on loopback, `transport` under an httpx client.
"""

from tests.simulator.buildkite.buildkite import AGENT_TOKEN, Buildkite
from tests.simulator.buildkite.events import (
    AgentDisconnected,
    AgentLost,
    AgentRegistered,
    Event,
    JobStateChanged,
    NotificationCreated,
    RequestRefused,
    StackDeregistered,
    StackRegistered,
)
from tests.simulator.buildkite.job import JobView
from tests.simulator.buildkite.operations import Operation
from tests.simulator.buildkite.server import BuildkiteServer
from tests.simulator.buildkite.settings import Dialect, Limits, RateLimits, Settings, TokenForm
from tests.simulator.buildkite.states import FAILED_UNRUN, HELD, OVER, JobState
from tests.simulator.buildkite.steps import Build, RetryRule, Step, StepKind
from tests.simulator.buildkite.transport import transport

__all__ = [
    "AGENT_TOKEN",
    "FAILED_UNRUN",
    "HELD",
    "OVER",
    "AgentDisconnected",
    "AgentLost",
    "AgentRegistered",
    "Build",
    "Buildkite",
    "BuildkiteServer",
    "Dialect",
    "Event",
    "JobState",
    "JobStateChanged",
    "JobView",
    "Limits",
    "NotificationCreated",
    "Operation",
    "RateLimits",
    "RequestRefused",
    "RetryRule",
    "Settings",
    "StackDeregistered",
    "StackRegistered",
    "Step",
    "StepKind",
    "TokenForm",
    "transport",
]
