"""Lambda on this machine: the functions run in the vendor's runtime client, against a runtime API of our own."""

from tests.simulator.lambda_host.environment import Completed
from tests.simulator.lambda_host.host import MOST_AT_ONCE, THROTTLED, LambdaHost
from tests.simulator.lambda_host.moments import ANYWHERE, PUNCTUAL, moments
from tests.simulator.lambda_host.schedule import Schedule
from tests.simulator.lambda_host.signals import Wakes

__all__ = [
    "ANYWHERE",
    "MOST_AT_ONCE",
    "PUNCTUAL",
    "THROTTLED",
    "Completed",
    "LambdaHost",
    "Schedule",
    "Wakes",
    "moments",
]
