"""What the dispatcher's chain needs of the settings besides the policy. Lambda and the simulation both use it."""

from agent_stack.dispatcher.bind import AgentIdentity
from agent_stack.dispatcher.chain import DispatcherOptions
from agent_stack.settings import Settings


def dispatcher_options(settings: Settings) -> DispatcherOptions:
    """The options of the deployment with those settings."""
    return DispatcherOptions(
        queues=settings.queues,
        identity=AgentIdentity(
            endpoint=settings.endpoint,
            deployment=settings.deployment,
            credential_kind=settings.agent_credential,
            deployment_tags=settings.agent_tags,
        ),
        read_job_environment=settings.read_job_environment,
    )
