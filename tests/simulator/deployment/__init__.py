"""What `sam deploy` does with template.yaml, done to moto's CloudFormation: so that what runs here is what deploys."""

from tests.simulator.deployment.deploy import Deployed, deploy
from tests.simulator.deployment.transform import translated_template

__all__ = ["Deployed", "deploy", "translated_template"]
