"""vCPU quotas of the account, against what classes and the stack's bounds allow. No launch has to be refused first."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from botocore.exceptions import ClientError

from agent_stack.domain.classes import VmClass
from agent_stack.domain.findings import Finding
from agent_stack.domain.identifiers import Bucket
from agent_stack.domain.policy import Policy
from agent_stack.domain.quota_buckets import bucket_of, quota_name
from agent_stack.domain.states import CapacityType
from agent_stack_cli.class_checks import catalog
from agent_stack_cli.classes import book_of, deployed
from agent_stack_cli.errors import CliError, code_of
from agent_stack_cli.findings import looked
from agent_stack_cli.stacks import Stack

CODES: Mapping[str, str] = {
    "on-demand:standard": "L-1216C47A",
    "on-demand:g-vt": "L-DB2E81BA",
    "on-demand:p": "L-417A185B",
    "on-demand:f": "L-74FC7D96",
    "on-demand:inf": "L-1945791B",
    "on-demand:x": "L-7295265B",
    "on-demand:dl": "L-6E869C2A",
    "on-demand:trn": "L-2C3B7624",
    "on-demand:high-memory": "L-43DA4232",
    "on-demand:hpc": "L-F7808C92",
    "spot:standard": "L-34B43A08",
    "spot:g-vt": "L-3819A6DF",
    "spot:p": "L-7212CCBC",
    "spot:f": "L-88CF9481",
    "spot:inf": "L-B5D1601B",
    "spot:x": "L-E3A00192",
    "spot:dl": "L-85EED4F7",
    "spot:trn": "L-6B0D517C",
}
"""Service Quotas' codes by bucket, as the tables of two pages of the EC2 user guide link them (read on 2026-11-26):
“Amazon EC2 On-Demand instance quotas” (ec2-on-demand-instances) and “Spot Instance quotas” (using-spot-limits). There,
spot has no quota for High Memory and HPC. A bucket that is not here is not examined, and doctor says so."""


def quotas(stack: Stack) -> Iterator[Finding]:
    """Quotas with less room than for one VM of a class, or than for as many as classes and stack allow."""
    book = book_of(stack, deployed(stack))
    types = sorted({name for one in book.classes.values() for name in one.instance_types})
    vcpus = catalog(stack).instance_types.vcpus(types)
    by_bucket: dict[Bucket, list[VmClass]] = defaultdict(list)
    for vm_class in book.classes.values():
        kinds = {vm_class.capacity_type} | ({CapacityType.ON_DEMAND} if vm_class.fallback else set())
        for bucket in {bucket_of(name, kind) for name in vm_class.instance_types for kind in kinds}:
            by_bucket[bucket].append(vm_class)
    for bucket, of_bucket in sorted(by_bucket.items()):
        look = partial(_of_bucket, stack, bucket, of_bucket, vcpus)
        yield from looked(f"quota {bucket}", look, stack.agent_stack("doctor"))


def _of_bucket(
    stack: Stack, bucket: Bucket, of_bucket: Sequence[VmClass], vcpus: Mapping[str, int]
) -> Iterator[Finding]:
    if bucket not in CODES:
        raise CliError(
            f"this version does not know the Service Quotas code of “{quota_name(bucket)}”",
            next="Look for it in the console: Service Quotas, Amazon EC2.",
        )
    limit, capacity_type = _limit(stack, CODES[bucket]), CapacityType(bucket.partition(":")[0])
    ask = f"Ask AWS for more: Service Quotas, Amazon EC2, “{quota_name(bucket)}” ({CODES[bucket]})"
    fitting: list[tuple[VmClass, int]] = []
    for vm_class in of_bucket:
        sizes = [vcpus[t] for t in vm_class.instance_types if t in vcpus and bucket_of(t, capacity_type) == bucket]
        if not sizes:
            continue
        if min(sizes) > limit:
            yield Finding(
                check=f"quota of class {vm_class.name}",
                severity="error",
                problem=f"The quota “{quota_name(bucket)}” is {limit} vCPUs, and one VM of class {vm_class.name} "
                f"needs {min(sizes)}.",
                effect=f"No VM of class {vm_class.name} starts under this quota.",
                remedy=f"{ask}, or give the class smaller types.",
            )
        else:
            fitting.append((vm_class, min(sizes)))
    if not fitting:
        return
    smallest, bounded = min(size for _, size in fitting), bound(fitting, stack.policy)
    fit = limit // smallest
    if fit < bounded.most:
        names = ", ".join(vm_class.name for vm_class, _ in fitting)
        yield Finding(
            check=f"quota {bucket}",
            severity="warning",
            problem=f"The quota “{quota_name(bucket)}” is {limit} vCPUs: at most {fit} VMs of {names} fit, "
            f"and {bounded.setting} allows {bounded.most}.",
            effect=f"At most {fit} of their jobs run at a time; the others wait until a VM ends.",
            remedy=f"{ask}, or {stack.deploy(f'MaxInstances={fit}')}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How many VMs a stack may have of some classes, and what says so."""

    most: int
    setting: str


def bound(classes: Sequence[tuple[VmClass, int]], policy: Policy) -> Bound:
    """The smallest bound of these classes, each with the vCPUs of its smallest type."""
    bounds = [Bound(most=policy.max_instances, setting="MaxInstances")]
    if policy.max_vcpus is not None:
        bounds.append(Bound(most=policy.max_vcpus // min(size for _, size in classes), setting="MaxVcpus"))
    own = [vm_class.max_instances for vm_class, _ in classes if vm_class.max_instances is not None]
    if len(own) == len(classes):
        bounds.append(Bound(most=sum(own), setting="max_instances of these classes"))
    return min(bounds, key=lambda one: one.most)


def _limit(stack: Stack, code: str) -> int:
    """The quota in vCPUs; AWS's default where the account has no value of its own."""
    client, asked = stack.session.client("service-quotas"), {"ServiceCode": "ec2", "QuotaCode": code}
    try:
        answer = client.get_service_quota(**asked)
    except ClientError as error:
        if code_of(error) != "NoSuchResourceException":
            raise
        answer = client.get_aws_default_service_quota(**asked)
    return int(answer["Quota"]["Value"])
