"""What the examples in generated pages are made of: a deployment with the template's own defaults."""

from typing import Any

from cfnlint.decode.cfn_yaml import loads

from agent_stack.domain.policy import Policy
from agent_stack.settings import Settings
from infra.user_data import TEMPLATE

_OF_A_DEPLOYMENT = {
    "DEPLOYMENT": "stack",
    "ACCOUNT_ID": "123456789012",
    "PARTITION": "aws",
    "AWS_REGION": "eu-central-1",
    "LEDGER_TABLE": "ledger",
    "MAILBOX_TABLE": "mailbox",
    "DEFAULT_CLASSES_PARAMETER": "/classes",
    "LAUNCH_TEMPLATE_ID": "lt-0123456789abcdef0",
    "LAUNCH_TEMPLATE_VERSION": "1",
    "PROGRAM_SHA256": "0" * 64,
    "SUBNET_IDS": "subnet-a",
    "BUILDKITE_TOKEN_PARAMETER": "/token",
    "QUEUES": "default",
    "STACK_KEY": "stack",
}


def _policy() -> Policy:
    parameters: dict[str, Any] = loads(TEMPLATE.read_text())["Parameters"]
    environment = dict(_OF_A_DEPLOYMENT)
    for field in Settings.model_fields.values():
        parameter = "".join(part.capitalize() for part in str(field.alias).split("_"))
        default = parameters.get(parameter, {}).get("Default", "")
        if default != "":
            environment.setdefault(str(field.alias), str(default))
    return Settings.from_environment(environment).policy


POLICY = _policy()
"""What an operator has decided who has decided nothing."""
