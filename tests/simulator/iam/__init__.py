"""What a role may do, by its policies: as much of IAM as this stack's own policies use.

A keyword, operator or variable that is not known here is an error, never a permission. `front` puts it before services
over HTTP.
"""

from tests.simulator.iam.dynamodb import asked_of_dynamodb
from tests.simulator.iam.policy import Asked, Policies

__all__ = ["Asked", "Policies", "asked_of_dynamodb"]
