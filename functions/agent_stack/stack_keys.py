"""Stack keys of this process: the recorded ones, read once, and the record kept up to date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent_stack.domain.identifiers import QueueKey, StackKey
from agent_stack.domain.stack_keys import StackKeyNames, StackKeyRecord
from agent_stack.ports import Ledger


@dataclass(slots=True, kw_only=True)
class StackKeys:
    """The keys of one deployment."""

    names: StackKeyNames
    ledger: Ledger
    _record: StackKeyRecord | None = field(default=None, init=False)
    _is_read: bool = field(default=False, init=False)

    def __call__(self, queue: QueueKey) -> StackKey:
        """The key of that queue, also of one that is not served any more.

        Raises:
            AgentStackError: the ledger did not answer; the next call asks again.
        """
        return self.names.key(queue, self._recorded())

    def begin(self) -> None:
        """Records that a new deployment has keys of the long form. Changes nothing where a record exists."""
        self.ledger.record_stack_keys(StackKeyRecord(prefix=self.names.prefix, long=True), only_if_new=True)
        self._is_read = False

    def retired(self, served: Sequence[QueueKey]) -> Mapping[StackKey, QueueKey]:
        """Recorded keys that no served queue has any more, each with the queue that had it."""
        record = self._recorded()
        if record is None:
            return {}
        used = {self(queue) for queue in served}
        recorded = {**record.retired, **{key: queue for queue, key in record.keys.items()}}
        return {key: queue for key, queue in recorded.items() if key not in used}

    def keep(self, served: Sequence[QueueKey], *, also: Mapping[StackKey, QueueKey]) -> None:
        """Records the keys of the served queues, and those that are still to be withdrawn, if that is not recorded."""
        before = self._recorded()
        # Earlier versions withdraw what `keys` holds, so a key is `retired` only where its queue has another one.
        keys = {**{queue: key for key, queue in also.items()}, **{queue: self(queue) for queue in served}}
        after = StackKeyRecord(
            prefix=self.names.prefix,
            long=before is not None and before.long,
            keys=keys,
            retired={key: queue for key, queue in also.items() if keys[queue] != key},
        )
        if after != before:
            self.ledger.record_stack_keys(after)
            self._record = after

    def _recorded(self) -> StackKeyRecord | None:
        if not self._is_read:
            self._record = self.ledger.stack_keys()
            self._is_read = True
        return self._record
