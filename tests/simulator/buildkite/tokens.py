"""Credentials that exist before any agent does: agent tokens and job acquisition tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.simulator.buildkite.identity import Identities, TokenPrefix
from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.reservations import Reservation, Reservations
from tests.simulator.buildkite.rules import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentToken:
    """A long-lived token of the cluster."""

    uuid: str
    description: str


@dataclass(slots=True, kw_only=True, eq=False)
class AcquisitionToken:
    """A short-lived token that registers one agent for one reserved job."""

    job_id: str
    stack_key: str
    reservation_id: str
    expires_at: datetime
    used: bool = False


class AgentTokens:
    """The cluster's agent tokens. Several may be valid at a time, as during a rotation."""

    def __init__(self, *, identities: Identities, first: str) -> None:
        self._identities = identities
        self._valid: dict[str, AgentToken] = {}
        self._ever_valid: set[str] = set()
        self.accept(first, "Simulated agent token")

    @property
    def ever_valid(self) -> frozenset[str]:
        """The values that were valid at some time."""
        return frozenset(self._ever_valid)

    def find(self, value: str) -> AgentToken | None:
        """The token with that value, if it is valid."""
        return self._valid.get(value)

    def accept(self, value: str, description: str) -> None:
        """Make a value valid."""
        self._ever_valid.add(value)
        self._valid[value] = AgentToken(uuid=self._identities.uuid(), description=description)

    def issue(self, description: str) -> str:
        """Make a new valid token and return its value."""
        value = self._identities.token(TokenPrefix.CLUSTER)
        self.accept(value, description)
        return value

    def revoke(self, value: str | None) -> None:
        """Make one token invalid, or all of them."""
        if value is None:
            self._valid.clear()
        else:
            self._valid.pop(value, None)


class AcquisitionTokens:
    """Job acquisition tokens: each dies with its reservation or its lifetime, whichever ends first.

    Source: the job acquisition tokens section of the public Stacks API documentation.
    """

    def __init__(self, *, identities: Identities, reservations: Reservations) -> None:
        self._identities = identities
        self._reservations = reservations
        self._by_value: dict[str, AcquisitionToken] = {}

    def issue(self, job: Job, stack_key: str, lifetime: timedelta, at: datetime) -> tuple[str, AcquisitionToken] | None:
        """A token for a job this stack holds reserved, or None when it does not."""
        reservation = self._reservations.of(job.id)
        if reservation is None or reservation.stack_key != stack_key:
            return None
        token = AcquisitionToken(
            job_id=job.id,
            stack_key=stack_key,
            reservation_id=reservation.id,
            expires_at=min(at + lifetime, reservation.expires_at),
        )
        value = self._identities.token(TokenPrefix.ACQUISITION)
        self._by_value[value] = token
        return value, token

    def find(self, value: str) -> AcquisitionToken | None:
        """The token with that value, valid or not."""
        return self._by_value.get(value)

    def spend(self, token: AcquisitionToken, at: datetime) -> Reservation:
        """Use a token for the one registration it is good for.

        Raises:
            Refusal: 401, it was used before, its time is over, or its reservation is.
        """
        reservation = self._reservations.of(token.job_id)
        if token.used:
            raise Refusal(401, "This job acquisition token has already been used")
        if at >= token.expires_at:
            raise Refusal(401, "This job acquisition token has expired")
        if reservation is None or reservation.id != token.reservation_id:
            raise Refusal(401, "The reservation of this job acquisition token is over")
        token.used = True
        return reservation
