"""Options: the settings that the dispatcher's chain needs in addition to the policy. Used by the simulation, too."""

from agent_stack.dispatcher.bind import AgentIdentity
from agent_stack.dispatcher.chain import DispatcherOptions
from agent_stack.settings import Settings


def dispatcher_options(settings: Settings) -> DispatcherOptions:
    """The options of a deployment with these settings."""
    return DispatcherOptions(
        queues=settings.queues,
        stack_key_names=settings.stack_key_names,
        identity=AgentIdentity(
            endpoint=settings.endpoint,
            deployment=settings.deployment,
            credential_kind=settings.agent_credential,
            deployment_tags=settings.agent_tags,
        ),
        read_job_environment=settings.read_job_environment,
        program_sha256=settings.program_sha256,
    )
