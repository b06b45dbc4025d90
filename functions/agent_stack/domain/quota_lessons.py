"""What one answer of EC2 teaches about vCPU quotas."""

from collections import Counter
from collections.abc import Mapping, Sequence

from agent_stack.domain.answers import Answer
from agent_stack.domain.identifiers import Bucket
from agent_stack.domain.launching import LaunchError
from agent_stack.domain.quota_buckets import bucket_of_pool, buckets_of
from agent_stack.domain.quotas import Ceiling, after_refusal


def after_answer(
    before: Mapping[Bucket, Ceiling], answer: Answer, refusals: Sequence[LaunchError]
) -> Mapping[Bucket, Ceiling]:
    """Ceilings go down by refusals, and up where all that was asked for came."""
    quotas = dict(before)
    came = Counter(bucket_of_pool(f"{vm.capacity_type}:{vm.instance_type}:x") for vm in answer.outcome.vms)
    refused: set[Bucket] = set()
    for error in refusals:
        pools = (
            [error.pool]
            if error.pool
            else [
                pool for pool in answer.outcome.asked or answer.all_pools if pool.startswith(f"{answer.capacity_type}:")
            ]
        )
        for bucket in buckets_of(pools) - refused:
            refused.add(bucket)
            sizes = [answer.vcpus.get(pool.split(":")[1], 1) for pool in pools if bucket_of_pool(pool) == bucket]
            quotas[bucket] = after_refusal(
                quotas.get(bucket),
                asked=max(1, answer.outcome.count),
                launched=came[bucket],
                vcpus=min(sizes),
                code=error.code,
                message=error.message,
                now=answer.now,
            )
    sizes_came = {vm.instance_type: answer.vcpus.get(vm.instance_type, 1) for vm in answer.outcome.vms}
    for bucket in came.keys() - refused:
        if bucket in quotas:
            sizes = [
                sizes_came[vm.instance_type]
                for vm in answer.outcome.vms
                if bucket_of_pool(f"{vm.capacity_type}:{vm.instance_type}:x") == bucket
            ]
            quotas[bucket] = quotas[bucket].granted(launched=len(sizes), vcpus=sum(sizes), now=answer.now)
    return quotas
