"""What the examples in generated pages are made of: a deployment with the template's own defaults."""

import re
from typing import Any

import yaml

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
    "TRACKER_WAKES_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/stack-Wakes",
    "DEFAULT_CLASSES_PARAMETER": "/classes",
    "LAUNCH_TEMPLATE_ID": "lt-0123456789abcdef0",
    "LAUNCH_TEMPLATE_VERSION": "1",
    "PROGRAM_SHA256": "0" * 64,
    "SUBNET_IDS": "subnet-a",
    "BUILDKITE_TOKEN_PARAMETER": "/token",
    "QUEUES": "default",
    "STACK_KEY": "stack",
}


def environment() -> dict[str, str]:
    """The variables that template.yaml gives a function, where the operator has decided nothing."""
    section = re.search(r"^Parameters:\n.*?(?=^\S)", TEMPLATE.read_text(), re.MULTILINE | re.DOTALL)
    if section is None:
        raise ValueError("template.yaml has no parameters")
    parameters: dict[str, Any] = yaml.safe_load(section[0])["Parameters"]
    variables = dict(_OF_A_DEPLOYMENT)
    for field in Settings.model_fields.values():
        parameter = "".join(part.capitalize() for part in str(field.alias).split("_"))
        if "Default" in parameters.get(parameter, {}):
            variables.setdefault(str(field.alias), str(parameters[parameter]["Default"]))
    return variables


POLICY: Policy = Settings.from_environment(environment()).policy
"""What an operator has decided who has decided nothing."""
