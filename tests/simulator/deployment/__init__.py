"""What `sam deploy` does with template.yaml, done to moto's CloudFormation: so that what runs here is what deploys."""

from tests.simulator.deployment.deploy import Deployed, deploy
from tests.simulator.deployment.objects import store_objects
from tests.simulator.deployment.resolve import ACCOUNT, Resolved, as_text
from tests.simulator.deployment.transform import TEMPLATE, translated_template

__all__ = ["ACCOUNT", "TEMPLATE", "Deployed", "Resolved", "as_text", "deploy", "store_objects", "translated_template"]
