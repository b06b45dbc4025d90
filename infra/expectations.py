"""What a deployed stack's roles must be allowed and denied, in the terms of IAM's own simulator.

A choice of those that tests/infra/requests/ lists; a test holds both to the same verdicts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

TAG = "agent-stack:deployment"
OTHER = "0fedcba9876543210"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What is called how in a deployed stack.

    Attributes:
        place: region and account, as they stand in an ARN.
        roles: ARNs by "dispatcher", "tracker" and "vm".
    """

    stack: str
    partition: str
    place: str
    roles: Mapping[str, str]
    ledger: str
    mailbox: str
    template: str
    vpc: str
    token_parameter: str

    def ec2(self, kind: str, name: str = "*") -> str:
        """The ARN of something of EC2's in this account."""
        return f"arn:{self.partition}:ec2:{self.place}:{kind}/{name}"

    def table(self, name: str) -> str:
        """The ARN of a table."""
        return f"arn:{self.partition}:dynamodb:{self.place}:table/{name}"

    def parameter(self, name: str) -> str:
        """The ARN of an SSM parameter."""
        return f"arn:{self.partition}:ssm:{self.place}:parameter/{name.removeprefix('/')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One request and whether it must be allowed.

    Attributes:
        role: "dispatcher", "tracker" or "vm".
        context: condition keys with their values.
    """

    what: str
    role: str
    action: str
    resource: str
    allowed: bool
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def expectations(names: Names) -> Iterator[Expectation]:
    """All of them."""
    yield from _launches(names)
    yield from _ends(names)
    yield from _mailboxes(names)


def _launches(names: Names) -> Iterator[Expectation]:
    ours, another = names.ec2("launch-template", names.template), names.ec2("launch-template", f"lt-{OTHER}")
    tag, imds_v2 = {f"aws:RequestTag/{TAG}": (names.stack,)}, {"ec2:MetadataHttpTokens": ("required",)}
    from_ours = {"ec2:LaunchTemplate": (ours,)}
    cases = (
        ("a VM from our template with our tag", {**from_ours, **tag, **imds_v2}, True),
        ("a VM from another template", {"ec2:LaunchTemplate": (another,), **tag, **imds_v2}, False),
        ("a VM without our tag", {**from_ours, **imds_v2}, False),
        ("a VM with IMDSv1", {**from_ours, **tag, "ec2:MetadataHttpTokens": ("optional",)}, False),
    )
    for what, context, allowed in cases:
        yield Expectation(
            what=what,
            role="dispatcher",
            action="ec2:RunInstances",
            resource=names.ec2("instance"),
            allowed=allowed,
            context=context,
        )
    for encrypted in ("true", "false"):
        yield Expectation(
            what=f"a volume that is encrypted: {encrypted}",
            role="dispatcher",
            action="ec2:RunInstances",
            resource=names.ec2("volume"),
            allowed=encrypted == "true",
            context={**from_ours, **tag, "ec2:Encrypted": (encrypted,)},
        )
    for vpc, allowed in ((names.vpc, True), (f"vpc-{OTHER}", False)):
        for action, context in (("ec2:CreateFleet", {}), ("ec2:RunInstances", from_ours)):
            yield Expectation(
                what=f"{action} in a subnet of {vpc}",
                role="dispatcher",
                action=action,
                resource=names.ec2("subnet", f"subnet-{OTHER}"),
                allowed=allowed,
                context={**context, "ec2:Vpc": (names.ec2("vpc", vpc),)},
            )
    for role, allowed in (
        (names.roles["vm"], True),
        (f"arn:{names.partition}:iam::{_account(names)}:role/admin", False),
    ):
        yield Expectation(
            what=f"VMs with the role {role.rpartition('/')[2]}",
            role="dispatcher",
            action="iam:PassRole",
            resource=role,
            allowed=allowed,
            context={"iam:PassedToService": ("ec2.amazonaws.com",)},
        )
    for creation, allowed in ({"ec2:CreateAction": ("CreateFleet",)}, True), ({}, False):
        yield Expectation(
            what="a tag while launching" if allowed else "a tag later",
            role="dispatcher",
            action="ec2:CreateTags",
            resource=names.ec2("instance", f"i-{OTHER}"),
            allowed=allowed,
            context=creation,
        )


def _ends(names: Names) -> Iterator[Expectation]:
    for role, deployment, allowed in (
        ("tracker", names.stack, True),
        ("tracker", "another", False),
        ("dispatcher", names.stack, False),
    ):
        yield Expectation(
            what=f"the end of a VM of {deployment}",
            role=role,
            action="ec2:TerminateInstances",
            resource=names.ec2("instance", f"i-{OTHER}"),
            allowed=allowed,
            context={f"aws:ResourceTag/{TAG}": (deployment,)},
        )


def _mailboxes(names: Names) -> Iterator[Expectation]:
    me, another = names.ec2("instance", f"i-{OTHER}"), names.ec2("instance", f"i-{OTHER[::-1]}")
    read, take = ("instance_arn", "job_id"), ("instance_arn", "credential", "stage")
    cases: tuple[tuple[str, str, str, str, tuple[str, ...], Mapping[str, tuple[str, ...]], bool], ...] = (
        ("its own mailbox read", "GetItem", names.mailbox, me, read, {}, True),
        ("another's mailbox read", "GetItem", names.mailbox, another, read, {}, False),
        ("its credential read", "GetItem", names.mailbox, me, ("instance_arn", "credential"), {}, False),
        (
            "its credential taken",
            "UpdateItem",
            names.mailbox,
            me,
            take,
            {"dynamodb:ReturnValues": ("UPDATED_OLD",)},
            True,
        ),
        (
            "all of its mailbox returned",
            "UpdateItem",
            names.mailbox,
            me,
            take,
            {"dynamodb:ReturnValues": ("ALL_OLD",)},
            False,
        ),
        ("another's credential taken", "UpdateItem", names.mailbox, another, take, {}, False),
        ("the ledger read", "GetItem", names.ledger, me, read, {}, False),
    )
    for what, action, table, key, attributes, more, allowed in cases:
        yield Expectation(
            what=what,
            role="vm",
            action=f"dynamodb:{action}",
            resource=names.table(table),
            allowed=allowed,
            context={
                "ec2:SourceInstanceARN": (me,),
                "dynamodb:LeadingKeys": (key,),
                "dynamodb:Attributes": attributes,
                **more,
            },
        )
    for role in ("dispatcher", "tracker"):
        for name, allowed in ((names.token_parameter, True), ("/another/secret", False)):
            yield Expectation(
                what=f"parameter {name} read",
                role=role,
                action="ssm:GetParameter",
                resource=names.parameter(name),
                allowed=allowed,
            )


def _account(names: Names) -> str:
    return names.place.rpartition(":")[2]
