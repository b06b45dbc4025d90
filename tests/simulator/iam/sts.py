"""A fake STS: roles with trust policies, and the sessions that it makes of tokens.

Source: the STS API reference; the IAM user guide on trust policies, session tags and the conditions keys of OIDC
federation.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.simulator.iam.policy import Asked, Policies
from tests.simulator.iam.refusal import Refusal
from tests.simulator.iam.web_identity import Identity, Provider, identity_of

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
SHORTEST = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of the account."""

    arn: str
    trust: Mapping[str, Any]
    policies: Sequence[Mapping[str, Any]]
    longest: timedelta = timedelta(hours=1)

    @property
    def name(self) -> str:
        """Without its path."""
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    role: Role
    name: str
    tags: Mapping[str, str]
    expires_at: datetime

    @property
    def arn(self) -> str:
        """As GetCallerIdentity shows it."""
        account = self.role.arn.split(":")[4]
        return f"arn:aws:sts::{account}:assumed-role/{self.role.name}/{self.name}"


class FakeSts:
    """STS of one account. Also the roles and providers that IAM knows."""

    def __init__(self, *, account_id: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self.account_id = account_id
        self.providers: list[Provider] = []
        self.roles: dict[str, Role] = {}
        self.sessions: dict[str, Session] = {}
        self.down = False
        self.exchanges: list[tuple[str, str]] = []
        """Of each request for a session: the role, and the code of its answer, `OK` where there is none."""
        self._numbers = itertools.count(1)

    def reset(self, providers: Sequence[Provider]) -> None:
        """An account without roles and sessions, and with these providers."""
        self.providers = list(providers)
        self.roles, self.sessions, self.exchanges, self.down = {}, {}, [], False

    def add(self, role: Role) -> Role:
        """Make a role.

        Raises:
            Refusal: its trust policy lacks what IAM demands of roles for a provider that many organisations share.
        """
        for statement in _listed(role.trust["Statement"]):
            if _federated(statement).endswith("/agent.buildkite.com"):
                keys = {key.lower() for keys in statement.get("Condition", {}).values() for key in keys}
                if "agent.buildkite.com:sub" not in keys:
                    raise Refusal(code="MalformedPolicyDocument", message="agent.buildkite.com:sub must be evaluated")
        self.roles[role.arn] = role
        return role

    def answer(self, body: bytes, caller: Callable[[], tuple[str, Policies]]) -> tuple[int, str]:
        """Status and XML for a request in the query protocol.

        Args:
            caller: the ARN of who signed it, and what they may do.
        """
        asked = dict(parse_qsl(body.decode()))
        action = asked.get("Action", "")
        try:
            result = self._result(action, asked, caller)
        except Refusal as refusal:
            if action.startswith("AssumeRole"):
                self.exchanges.append((asked.get("RoleArn", ""), refusal.code))
            kind = "Sender" if refusal.status < 500 else "Receiver"
            error = {"Type": kind, "Code": refusal.code, "Message": refusal.message}
            return refusal.status, _xml("ErrorResponse", {"Error": error, "RequestId": "1"})
        return 200, _xml(f"{action}Response", {f"{action}Result": result, "ResponseMetadata": {"RequestId": "1"}})

    def session(self, access_key_id: str) -> Session | None:
        """The session with that key id.

        Raises:
            Refusal: its time is over.
        """
        found = self.sessions.get(access_key_id)
        if found is not None and found.expires_at <= self.now():
            raise Refusal(code="ExpiredTokenException", message="The security token included in the request is expired")
        return found

    def _result(
        self, action: str, asked: Mapping[str, str], caller: Callable[[], tuple[str, Policies]]
    ) -> Mapping[str, Any]:
        if self.down:
            raise Refusal(code="ServiceUnavailable", message="down", status=503)
        match action:
            case "GetCallerIdentity":
                return {"Arn": caller()[0], "UserId": "AROA:x", "Account": self.account_id}
            case "AssumeRoleWithWebIdentity":
                identity = identity_of(asked.get("WebIdentityToken", ""), self.providers, self.now())
                return self._given(asked, self._trusted(asked, identity), identity.tags)
            case "AssumeRole":
                return self._given(asked, self._trusted_by(asked, *caller()), {})
            case _:
                raise NotImplementedError(f"{action} of STS")

    def _trusted(self, asked: Mapping[str, str], identity: Identity) -> Role:
        """The role, when its trust policy lets this identity have it with these tags."""
        role, host = self.roles.get(asked["RoleArn"]), identity.provider.host
        context = {
            f"{host}:sub": [identity.subject],
            f"{host}:aud": [identity.audience],
            **{f"aws:RequestTag/{name}": [value] for name, value in identity.tags.items()},
            **({"aws:TagKeys": sorted(identity.tags)} if identity.tags else {}),
            **({"sts:TransitiveTagKeys": sorted(identity.transitive)} if identity.transitive else {}),
            "sts:RoleSessionName": [asked["RoleSessionName"]],
        }
        actions = ["sts:AssumeRoleWithWebIdentity", *(["sts:TagSession"] if identity.tags else [])]
        federated = f"arn:aws:iam::{self.account_id}:oidc-provider/{host}"
        if role is None or not _trusts(role, actions, context, lambda statement: _federated(statement) == federated):
            raise _denied("sts:AssumeRoleWithWebIdentity")
        return role

    def _trusted_by(self, asked: Mapping[str, str], arn: str, policies: Policies) -> Role:
        """The role, when the caller's policies and its trust policy both allow it."""
        role = self.roles.get(asked["RoleArn"])
        allowed = policies.allow(Asked(action="sts:AssumeRole", resource=asked["RoleArn"]))
        trusted = {"*", self.account_id, f"arn:aws:iam::{self.account_id}:root", arn}
        if not allowed or role is None:
            raise _denied("sts:AssumeRole")
        if not _trusts(role, ["sts:AssumeRole"], {}, lambda s: bool(trusted & set(_principals(s, "AWS")))):
            raise _denied("sts:AssumeRole")
        return role

    def _given(self, asked: Mapping[str, str], role: Role, tags: Mapping[str, str]) -> Mapping[str, Any]:
        if "Policy" in asked or "PolicyArns.member.1.arn" in asked:
            raise NotImplementedError("session policies")
        lasts = timedelta(seconds=int(asked.get("DurationSeconds", 3600)))
        if not timedelta(seconds=SHORTEST) <= lasts <= role.longest:
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise Refusal(code="ValidationError", message=message)
        number = next(self._numbers)
        session = Session(
            access_key_id=f"ASIASESSION{number:09d}",
            secret_access_key=f"secret+of/session{number}",
            session_token=f"session+{number}/{role.name}==",
            role=role,
            name=asked["RoleSessionName"],
            tags=tags,
            expires_at=self.now() + lasts,
        )
        self.sessions[session.access_key_id] = session
        self.exchanges.append((role.arn, "OK"))
        credentials = {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "SessionToken": session.session_token,
            "Expiration": session.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return {
            "Credentials": credentials,
            "AssumedRoleUser": {"AssumedRoleId": f"AROA:{session.name}", "Arn": session.arn},
        }


def _trusts(
    role: Role,
    actions: Sequence[str],
    context: Mapping[str, Sequence[str]],
    names: Callable[[Mapping[str, Any]], bool],
) -> bool:
    """Whether the statements that name this principal allow all of it."""
    ours = [
        {**{key: value for key, value in statement.items() if key != "Principal"}, "Resource": "*"}
        for statement in _listed(role.trust["Statement"])
        if names(statement)
    ]
    policies = Policies([{"Statement": ours}])
    return all(policies.allow(Asked(action=action, resource=role.arn, context=context)) for action in actions)


def _denied(action: str) -> Refusal:
    return Refusal(code="AccessDenied", message=f"Not authorized to perform {action}", status=403)


def _federated(statement: Mapping[str, Any]) -> str:
    return next(iter(_principals(statement, "Federated")), "")


def _principals(statement: Mapping[str, Any], kind: str) -> list[str]:
    principal = statement["Principal"]
    return ["*"] if principal == "*" else _listed(principal.get(kind, []))


def _xml(name: str, value: Mapping[str, Any]) -> str:
    return f'<{name} xmlns="{NAMESPACE}">{_elements(value)}</{name}>'


def _elements(value: Mapping[str, Any]) -> str:
    return "".join(
        f"<{name}>{_elements(inside) if isinstance(inside, Mapping) else escape(str(inside))}</{name}>"
        for name, inside in value.items()
    )


def _listed(value: Any) -> list[Any]:  # noqa: ANN401  (JSON: one or a list of them)
    return value if isinstance(value, list) else [value]
