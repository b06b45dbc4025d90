"""EC2: launches with CreateFleet, looks at and ends what carries this deployment's tag."""

from agent_stack.adapters.ec2.fleet import Ec2Fleet

__all__ = ["Ec2Fleet"]
