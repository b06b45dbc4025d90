"""Stack keys: under which key each queue's stack is registered. Keys are unique in a Buildkite organisation.

The short form joins the operator's StackKey and the queue by a dash, so `ci` + `linux-arm` and `ci-linux` + `arm` are
one key, and so are deployments of one name in two regions. The long form ends in a digest of the deployment and the
queue. A deployment keeps the form that it began with, because a key that changes would leave the old one registered.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent_stack.domain.identifiers import QueueKey, StackKey

MAX_STACK_KEY_BYTES = 80
DIGEST_CHARACTERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StackKeyRecord:
    """What a deployment has recorded.

    Attributes:
        prefix: the operator's StackKey at that time.
        long: the form of keys.
        keys: of the queues that were registered, those of removed queues included until they are withdrawn.
        retired: further keys that are still to be withdrawn, each with its queue, which has another key by now.
    """

    prefix: str
    long: bool
    keys: Mapping[QueueKey, StackKey] = field(default_factory=dict)
    retired: Mapping[StackKey, QueueKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackKeyNames:
    """How one deployment names its stacks.

    Attributes:
        prefix: the operator's StackKey.
        deployment: what is unique to the deployment: partition, account, region and name.
    """

    prefix: str
    deployment: str

    def key(self, queue: QueueKey, record: StackKeyRecord | None) -> StackKey:
        """The key of that queue. Without a record the deployment is older than records, and its keys are short."""
        if record is None:
            return short_key(self.prefix, queue)
        if record.prefix == self.prefix and queue in record.keys:
            return record.keys[queue]
        return self.long_key(queue) if record.long else short_key(self.prefix, queue)

    def long_key(self, queue: QueueKey) -> StackKey:
        """The short key, cropped, and a digest of all that makes the stack another one."""
        digest = hashlib.sha256(f"{self.deployment}\n{self.prefix}\n{queue}".encode()).hexdigest()
        shown = short_key(self.prefix, queue)[: MAX_STACK_KEY_BYTES - DIGEST_CHARACTERS - 1]
        return StackKey(f"{shown}-{digest[:DIGEST_CHARACTERS]}")


def short_key(prefix: str, queue: QueueKey) -> StackKey:
    """The deployment's StackKey, then the queue's key with dots made dashes."""
    return StackKey(f"{prefix}-{queue.replace('.', '-')}")
