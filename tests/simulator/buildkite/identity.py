"""Ids and tokens of the simulated organisation, all drawn from one seeded source."""

import base64
import random
import uuid
from enum import StrEnum

from tests.simulator.buildkite.settings import TokenForm

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_TOKEN_CHARACTERS = 32
_SIGNATURE_BYTES = 256  # of RS256


class TokenPrefix(StrEnum):
    """What kind of credential a token is, as its first characters say."""

    CLUSTER = "bkct_"
    ACQUISITION = "bkjat_"
    AGENT_SESSION = "bkas_"
    JOB = "bkjt_"


class Identities:
    """Draws ids and tokens; the same seed gives the same sequence."""

    def __init__(self, seed: int, *, token_form: TokenForm, jwt_characters: int) -> None:
        self._random = random.Random(seed)
        self._token_form = token_form
        self._jwt_characters = jwt_characters
        self._issued: set[str] = set()

    @property
    def tokens(self) -> frozenset[str]:
        """Every token drawn so far."""
        return frozenset(self._issued)

    def uuid(self) -> str:
        """A version 4 UUID in its usual text form."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def token(self, prefix: TokenPrefix) -> str:
        """A token of the given kind; acquisition tokens in the form the settings choose."""
        if prefix is TokenPrefix.ACQUISITION and self._token_form is TokenForm.JWT:
            token = self._jwt()
        else:
            token = prefix + "".join(self._random.choices(_ALPHABET, k=_TOKEN_CHARACTERS))
        self._issued.add(token)
        return token

    def issued(self, token: str) -> None:
        """Count a token that was made elsewhere among those that nothing may leak."""
        self._issued.add(token)

    def _jwt(self) -> str:
        """As long as those that clients have met; nobody but the service reads what is in it."""
        header = _segment(b'{"alg":"RS256","typ":"JWT"}')
        signature = _segment(self._random.randbytes(_SIGNATURE_BYTES))
        payload = "".join(self._random.choices(_ALPHABET, k=self._jwt_characters - len(header) - len(signature) - 2))
        return f"{header}.{payload}.{signature}"


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
