"""A fake EC2: instances that take their time, fleets that are partial, tokens, quotas, throttles and lost answers.

`Ec2` is the model with its actions; `Ec2Server` puts it on loopback, `attach` under a boto3 client.
"""

from tests.simulator.cloud.ec2 import Call, Ec2
from tests.simulator.cloud.front import Ec2Server, attach
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.region import Machine, Machines, StateChange
from tests.simulator.cloud.settings import LaunchTemplateData, Settings, Subnet

__all__ = [
    "Call",
    "Ec2",
    "Ec2Server",
    "Instance",
    "LaunchTemplateData",
    "Machine",
    "Machines",
    "Settings",
    "StateChange",
    "Subnet",
    "attach",
]
