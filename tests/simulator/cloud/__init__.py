"""A fake EC2: instances that take their time, fleets that are partial, quotas, refusals, throttles and lost answers.

`Ec2` is the model with its actions; `Ec2Server` puts it on loopback, `attach` under a boto3 client.
"""

from tests.simulator.cloud.authorisation import Caller
from tests.simulator.cloud.ec2 import Call, Ec2
from tests.simulator.cloud.front import Ec2Server, attach
from tests.simulator.cloud.images import Image
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.quotas import Workload
from tests.simulator.cloud.refusals import Refusal
from tests.simulator.cloud.region import Machine, Machines, StateChange
from tests.simulator.cloud.settings import LaunchTemplateData, Settings, Subnet

__all__ = [
    "Call",
    "Caller",
    "Ec2",
    "Ec2Server",
    "Image",
    "Instance",
    "LaunchTemplateData",
    "Machine",
    "Machines",
    "Refusal",
    "Settings",
    "StateChange",
    "Subnet",
    "Workload",
    "attach",
]
