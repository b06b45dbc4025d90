"""Systems Manager parameters: the agent token, and the operator's classes."""

from agent_stack.adapters.ssm.classes import SsmClasses
from agent_stack.adapters.ssm.secrets import SsmSecrets

__all__ = ["SsmClasses", "SsmSecrets"]
