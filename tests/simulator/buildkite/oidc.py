"""OIDC tokens: what Buildkite says about a job, signed, so that others believe it.

Source: the OIDC page of the public documentation (claims, defaults, session tags, subjects), the limits page for the
longest lifetime as the vendor's AWS plugin names it, and the agent's public source for the request.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.simulator.buildkite.agents import Agent
from tests.simulator.buildkite.body import Fields
from tests.simulator.buildkite.identity import Identities
from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.queues import Queues
from tests.simulator.buildkite.rules import Refusal, Rule
from tests.simulator.buildkite.settings import Settings

ISSUER = "https://agent.buildkite.com"
AWS_TAGS = "https://aws.amazon.com/tags"
AGENT_TAG = "agent_tag:"
SUBJECTS = frozenset(
    {"organization_id", "pipeline_id", "cluster_id", "queue_id", "build_id", "job_id", "agent_id"},
)
"""Only what never changes may be a subject of its own: a slug that is renamed would break trust without a word."""

Claims = dict[str, str | int | None]


class OidcTokens:
    """Signs tokens with a key that is made at the first one."""

    def __init__(self, *, identities: Identities, settings: Settings, queues: Queues) -> None:
        self._identities = identities
        self._settings = settings
        self._queues = queues

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    def discovery(self) -> Mapping[str, object]:
        """The discovery document."""
        return {
            "issuer": ISSUER,
            "jwks_uri": f"{ISSUER}/.well-known/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public", "pairwise"],
        }

    def jwks(self) -> Mapping[str, object]:
        """The public keys."""
        public = self._key.public_key().public_numbers()
        modulus, exponent = (_segment(n.to_bytes((n.bit_length() + 7) // 8, "big")) for n in (public.n, public.e))
        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": modulus, "e": exponent}]}

    def issue(
        self, asked: Fields, job: Job, agent: Agent, *, organization_id: str, cluster_id: str, at: datetime
    ) -> str:
        """A token about a job that an agent runs.

        Raises:
            Refusal: 422, the request asks for what no token holds.
        """
        lifetime = asked.integer_between(
            "lifetime",
            0,
            lowest=0,
            highest=int(self._settings.limits.oidc_lifetime_maximum.total_seconds()),
            rule=Rule.OIDC_LIFETIME,
        )
        lasting = timedelta(seconds=lifetime) or self._settings.limits.oidc_lifetime_default
        always, optional = self._claims(job, agent, organization_id=organization_id, cluster_id=cluster_id)
        claims: dict[str, object] = {
            "iss": ISSUER,
            "sub": self._subject(job),
            "aud": asked.optional_text("audience") or f"https://buildkite.com/{self._settings.organization_slug}",
            "iat": int(at.timestamp()),
            "nbf": int(at.timestamp()),
            "exp": int((at + lasting).timestamp()),
            **always,
            **_chosen(optional, _listed(asked, "claims")),
        }
        if subject := asked.optional_text("subject_claim"):
            if subject not in SUBJECTS:
                raise Refusal(422, f"{subject} cannot be the subject", rule=Rule.OIDC_CLAIM)
            claims["sub"] = claims[subject] = {**always, **optional}[subject]
        if tags := _listed(asked, "aws_session_tags"):
            chosen = _chosen({**always, **optional}, tags)
            named = {name: ["" if value is None else str(value)] for name, value in chosen.items()}
            claims[AWS_TAGS] = {"principal_tags": named}
        return self.sign(claims)

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token with exactly those claims; what a test holds against a service that must not take it."""
        header = _segment(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "1"}).encode())
        body = f"{header}.{_segment(json.dumps(claims).encode())}"
        token = f"{body}.{_segment(self._key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
        self._identities.issued(token)
        return token

    def _subject(self, job: Job) -> str:
        build = job.build
        parts = {
            "organization": self._settings.organization_slug,
            "pipeline": build.pipeline_slug,
            "ref": f"refs/heads/{build.branch or ''}",
            "commit": build.commit,
            "step": job.step.key or "",
        }
        return ":".join(f"{name}:{value}" for name, value in parts.items())

    def _claims(self, job: Job, agent: Agent, *, organization_id: str, cluster_id: str) -> tuple[Claims, Claims]:
        """What each token holds, and what it may hold besides."""
        build = job.build
        queue = self._queues.find(job.queue_key)
        always: Claims = {
            "organization_slug": self._settings.organization_slug,
            "pipeline_slug": build.pipeline_slug,
            "build_number": build.number,
            "build_branch": build.branch,
            "build_commit": build.commit,
            "step_key": job.step.key,
            "job_id": job.id,
            "agent_id": agent.id,
            "build_source": "api",
            "runner_environment": "self-hosted",
        }
        optional: Claims = {
            "organization_id": organization_id,
            "pipeline_id": build.pipeline_id,
            "build_id": build.id,
            "cluster_id": cluster_id,
            "cluster_name": self._settings.cluster_name,
            "queue_id": queue.id if queue else None,
            "queue_key": job.queue_key,
            **{f"{AGENT_TAG}{name}": value for name, _, value in (tag.partition("=") for tag in agent.tags)},
        }
        return always, optional


def _listed(asked: Fields, name: str) -> Sequence[str]:
    """Names, each of which may itself be several with commas between them, as the agent's flags are."""
    return tuple(part for text in asked.texts(name) for part in text.split(",") if part)


def _chosen(claims: Claims, names: Sequence[str]) -> Claims:
    unknown = [name for name in names if name not in claims and not name.startswith(AGENT_TAG)]
    if unknown:
        raise Refusal(422, f"unknown claims: {', '.join(unknown)}", rule=Rule.OIDC_CLAIM)
    return {name: claims.get(name) for name in names}


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
