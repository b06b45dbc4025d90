"""Token buckets: how much of an action EC2 grants, and how fast it grants more."""

from datetime import datetime

from tests.simulator.cloud.errors import throttled
from tests.simulator.cloud.settings import LAUNCHES, READ_BUDGET, REQUEST_BUDGETS, TERMINATIONS, Budget


class Bucket:
    """One bucket, full at first."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._tokens = budget.burst
        self._at: datetime | None = None

    def take(self, wanted: int, now: datetime) -> int:
        """As many tokens as there are, at most `wanted`."""
        if self._at is not None:
            grown = (now - self._at).total_seconds() * self._budget.refill_per_second
            self._tokens = min(self._budget.burst, self._tokens + grown)
        self._at = now
        taken = min(wanted, int(self._tokens))
        self._tokens -= taken
        return taken


class Budgets:
    """The buckets of one account and region."""

    def __init__(self, *, enforced: bool) -> None:
        self._enforced = enforced
        self._requests: dict[str, Bucket] = {}
        launches = Bucket(LAUNCHES)
        self._instances = {
            "CreateFleet": launches,
            "RunInstances": launches,
            "TerminateInstances": Bucket(TERMINATIONS),
        }

    def request(self, action: str, now: datetime) -> None:
        """Count one request.

        Raises:
            Ec2Error: there were too many.
        """
        bucket = self._requests.setdefault(action, Bucket(REQUEST_BUDGETS.get(action, READ_BUDGET)))
        if self._enforced and not bucket.take(1, now):
            raise throttled(action)

    def instances(self, action: str, wanted: int, now: datetime) -> int:
        """How many of those instances the action may touch now."""
        return self._instances[action].take(wanted, now) if self._enforced else wanted
