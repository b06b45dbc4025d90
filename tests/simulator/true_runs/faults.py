"""Which requests go wrong, and how: by the seed, the service and the number of the request alone."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What the proxy does to one request or its answer."""

    # Nothing happened.
    NOT_ARRIVED = "not arrived"  # the connection is closed without an answer
    RESET = "reset"  # the connection is reset without an answer
    UNAVAILABLE = "unavailable"  # a gateway's 503
    # The answer arrives, but slowly or after noise.
    DELAYED = "delayed"
    DRIPPED = "dripped"
    CONTINUED = "continued"  # many `100 Continue` before the answer
    # It happened, and the client cannot learn what.
    LOST = "lost"  # closed without an answer
    RESET_AFTERWARDS = "reset afterwards"
    BAD_GATEWAY = "bad gateway"  # a gateway's 502
    CUT = "cut"  # the connection ends in the middle of the body
    TRUNCATED = "truncated"  # half of the body, with that length
    COMPRESSED_TWICE = "compressed twice"
    NONSENSE = "nonsense"  # a 200 with a body that no service gives


BEFORE = frozenset({Fault.NOT_ARRIVED, Fault.RESET, Fault.UNAVAILABLE})
SLOW = frozenset({Fault.DELAYED, Fault.DRIPPED, Fault.CONTINUED})
EVERY = tuple(Fault)
AGENTS = tuple(fault for fault in Fault if fault in BEFORE | SLOW)
"""What an agent meets. When it loses the answer to its acquisition or its job's end, Buildkite itself can only count
the job as lost: nothing of the stack is judged by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A fault, and a number from 0 to 1 for how much of it."""

    fault: Fault
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Decides for each request.

    Attributes:
        share: of the requests that go wrong, by the service.
        otherwise: the share for every other service.
    """

    seed: int
    share: Mapping[str, float]
    otherwise: float = 0.05

    def __call__(self, service: str, number: int, kinds: Sequence[Fault]) -> Planned | None:
        """What the request of that number meets, of those kinds; None when it meets nothing."""
        chance = random.Random(f"{self.seed} {service} {number}")
        if chance.random() >= self.share.get(service, self.otherwise):
            return None
        return Planned(fault=chance.choice(kinds), amount=chance.random())
