"""An operator's own parameters in the demo: what this machine has of them, and what is left out and why."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from agent_stack_cli.parameter_rules import problems

_REASONS: Mapping[str, tuple[str, ...]] = {
    "the demo has a network of its own": (
        *("VpcId", "Subnets", "VmSecurityGroups", "NetworkCidr", "NetworkEgress", "NetworkZones"),
        *("InterfaceEndpoints", "FunctionSubnets", "FunctionSecurityGroups", "HttpProxy", "NoProxy"),
    ),
    "the demo has a Buildkite of its own": (
        *("BuildkiteEndpoint", "BuildkiteEventBusName", "BuildkiteOrganizationId", "AgentDownloadUrl"),
    ),
    "what it names is in your account": (
        *("InstanceRoleName", "InstanceManagedPolicies", "FunctionManagedPolicies", "PermissionsBoundary"),
        *("KmsKeyArn", "AgentTokenKeyArn", "AlarmTopicArn"),
    ),
    "no secret of yours is on this machine": (
        *("GitSshKeyParameter", "GitCredentialsParameter", "JobEnvironmentParameter", "SigningKeyParameter"),
        *("VerificationKeyParameter", "JobSecretsPath", "SecretsBucket"),
    ),
    "jobs get no AWS session in the demo": (
        *("JobAccess", "JobRoleArn", "CreateOidcProvider", "CacheBucket", "CreateCacheBucket"),
    ),
    "the demo fetches nothing from your buckets": ("GitMirrors", "GitMirrorSeedBucket", "GitMirrorPipelineId"),
    "the demo bakes no image": (
        *("BakeImage", "BakeImageArchitecture", "BakeImageRepositories", "BakeImagePackages", "BakeImageDockerImages"),
        "BakeImageVolumeGib",
    ),
}
LEFT_OUT: Mapping[str, str] = MappingProxyType({name: why for why, names in _REASONS.items() for name in names})
"""Parameters that the demo does not deploy, and why."""

_SCRIPT = b"#!/bin/sh\necho 'stands for the bootstrap script'\n"
FETCHED = {"BootstrapUrl": "BootstrapSha256", "HooksUrl": "HooksSha256"}
"""What a VM fetches, and its digest."""


class ParametersError(Exception):
    """The demo cannot be deployed with these; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnParameters:
    """What is deployed of an operator's parameters.

    Attributes:
        objects: what VMs fetch from S3, by URL: something harmless in place of the operator's own.
        notes: what is left out, a line for each reason.
    """

    deployed: Mapping[str, str]
    objects: Mapping[str, bytes]
    notes: tuple[str, ...]

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that the stack serves; the first one is the cluster's default."""
        return tuple(part.strip() for part in self.deployed.get("Queues", "default").split(","))


def own_parameters(given: Mapping[str, str]) -> OwnParameters:
    """What the demo deploys of them.

    Raises:
        ParametersError: scripts/deploy would refuse them, too.
    """
    if wrong := list(problems(given)):
        raise ParametersError("\n".join(wrong))
    left = {name: LEFT_OUT[name] for name, value in given.items() if name in LEFT_OUT and value}
    kept = {name: value for name, value in given.items() if name not in LEFT_OUT}
    objects = dict[str, bytes]()
    for name, digest in FETCHED.items():
        url = kept.get(name, "")
        kept.pop(digest, None)  # of the operator's own file
        if url.startswith("s3://") and "{" not in url:
            objects[url] = _SCRIPT if name == "BootstrapUrl" else _no_hooks()
            left[name] = "fetched from the demo's S3, where a stand-in lies that does nothing"
        elif url:
            del kept[name]
            left[name] = "the demo fetches nothing from elsewhere"
    if kept.get("AgentTokenParameter", "").startswith("arn:"):
        del kept["AgentTokenParameter"]
        left["AgentTokenParameter"] = "the token of the demo's Buildkite is used"
    return OwnParameters(deployed=kept, objects=objects, notes=tuple(_by_reason(left)))


def one_job_for_each(queues: Sequence[str], document: str) -> str:
    """A pipeline that shows a deployment: a job for each class in the first queue, and one in each other queue."""
    first, *others = queues
    steps = [
        {"label": f"class {name}", "command": f'echo "class {name}"', "agents": {"queue": first, "class": name}}
        for name in json.loads(document)["classes"]
    ]
    steps += [
        {"label": f"queue {name}", "command": f'echo "queue {name}"', "agents": {"queue": name}} for name in others
    ]
    return json.dumps({"steps": steps})


def _by_reason(left: Mapping[str, str]) -> Iterator[str]:
    for why in dict.fromkeys(left.values()):
        yield f"{', '.join(name for name in left if left[name] == why)}: {why}"


def _no_hooks() -> bytes:
    """An archive without a member."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz"):
        pass
    return content.getvalue()
