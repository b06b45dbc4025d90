"""Checks OIDC tokens as STS does before it looks at any role: whose they are, for whom, until when, with which tags.

Source: the STS API reference on AssumeRoleWithWebIdentity and its errors, the IAM user guide on OIDC providers and on
session tags. The code of a refusal because of a tag is documented nowhere; InvalidIdentityToken is assumed.
"""

import base64
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from tests.simulator.iam.refusal import Refusal

TAGS_CLAIM = "https://aws.amazon.com/tags"
SKEW = timedelta(minutes=5)
MAX_TAGS, MAX_KEY, MAX_VALUE = 50, 128, 256
_ALSO_IN_TAGS = frozenset("_.:/=+-@")

Jwks = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An OIDC provider of the account.

    Attributes:
        url: the issuer.
        audiences: the client ids that it is registered with.
        keys: fetches the keys that stand at the issuer.
    """

    url: str
    keys: Callable[[], Jwks]
    audiences: Sequence[str] = ("sts.amazonaws.com",)

    @property
    def host(self) -> str:
        """What condition keys and the provider's ARN begin with."""
        return self.url.removeprefix("https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a token that was found good says."""

    provider: Provider
    subject: str
    audience: str
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: frozenset[str] = frozenset()


def identity_of(token: str, providers: Sequence[Provider], now: datetime) -> Identity:
    """What the token says.

    Raises:
        Refusal: it is not taken; says why as STS does.
    """
    header, claims, signed, signature = _parts(token)
    provider = next((one for one in providers if one.url == claims.get("iss")), None)
    if provider is None:
        raise _invalid(f"No OpenIDConnect provider found in your account for {claims.get('iss')}")
    _check_signature(header, signed, signature, provider)
    if claims.get("aud") not in provider.audiences:
        raise _invalid("Incorrect token audience")
    if not isinstance(claims.get("exp"), int) or not isinstance(claims.get("iat"), int) or not claims.get("sub"):
        raise _invalid("Missing a required claim: sub, exp or iat")
    if claims["exp"] <= now.timestamp():
        raise Refusal(code="ExpiredTokenException", message=f"Token expired: current date/time {now:%s}")
    if max(claims["iat"], claims.get("nbf", 0)) > (now + SKEW).timestamp():
        raise _invalid("Token is not valid yet")
    tags, transitive = _tags(claims.get(TAGS_CLAIM, {}))
    return Identity(
        provider=provider, subject=str(claims["sub"]), audience=str(claims["aud"]), tags=tags, transitive=transitive
    )


def _invalid(message: str) -> Refusal:
    return Refusal(code="InvalidIdentityToken", message=message)


def _parts(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any], bytes, bytes]:
    try:
        header, claims, signature = token.split(".")
        parsed = [json.loads(_bytes(part)) for part in (header, claims)]
        return parsed[0], parsed[1], f"{header}.{claims}".encode(), _bytes(signature)
    except ValueError:
        raise _invalid(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
        ) from None


def _check_signature(header: Mapping[str, Any], signed: bytes, signature: bytes, provider: Provider) -> None:
    """RS256 only: a token that names another algorithm, or none, is refused whatever it is signed with."""
    key = next((key for key in provider.keys()["keys"] if key["kid"] == header.get("kid")), None)
    if header.get("alg") != "RS256" or key is None:
        raise _invalid("Couldn't retrieve verification key from your identity provider")
    modulus, exponent = (int.from_bytes(_bytes(key[name]), "big") for name in ("n", "e"))
    public = RSAPublicNumbers(exponent, modulus).public_key()
    try:
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise _invalid("Token signature invalid") from None


def _tags(stated: Mapping[str, Any]) -> tuple[Mapping[str, str], frozenset[str]]:
    principal = stated.get("principal_tags", {})
    if len(principal) > MAX_TAGS or len({name.lower() for name in principal}) != len(principal):
        raise _invalid(f"more than {MAX_TAGS} session tags, or two of one name")
    tags = {}
    for name, values in principal.items():
        if not isinstance(values, list) or len(values) != 1 or not isinstance(values[0], str):
            raise _invalid(f"the session tag {name} does not have one value")
        if not 1 <= len(name) <= MAX_KEY or len(values[0]) > MAX_VALUE or not _fits(name) or not _fits(values[0]):
            raise _invalid(f"the session tag {name} is too long or has characters that no tag may have")
        tags[name] = values[0]
    return tags, frozenset(stated.get("transitive_tag_keys", ()))


def _fits(text: str) -> bool:
    r"""Whether all of it is in [\p{L}\p{Z}\p{N}_.:/=+\-@]."""
    return all(one in _ALSO_IN_TAGS or unicodedata.category(one)[0] in "LZN" for one in text)


def _bytes(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
