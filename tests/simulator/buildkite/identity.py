"""Ids and tokens of the simulated organisation, all drawn from one seeded source."""

import random
import uuid
from enum import StrEnum

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_TOKEN_CHARACTERS = 32


class TokenPrefix(StrEnum):
    """What kind of credential a token is, as its first characters say."""

    CLUSTER = "bkct_"
    ACQUISITION = "bkjat_"
    AGENT_SESSION = "bkas_"
    JOB = "bkjt_"


class Identities:
    """Draws ids and tokens; the same seed gives the same sequence."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> str:
        """A version 4 UUID in its usual text form."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def token(self, prefix: TokenPrefix) -> str:
        """A token of the given kind."""
        return prefix + "".join(self._random.choices(_ALPHABET, k=_TOKEN_CHARACTERS))
