"""The port `Mailbox` in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.states import MAX_REISSUES, BootStage, CredentialHolder
from agent_stack.domain.vms import MailboxStatus, told_by
from tests.simulator.memory.store import MAX_DETAIL_CHARACTERS, Box, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMailbox:
    """See the port `Mailbox`."""

    store: Store

    def read(self, arns: Sequence[InstanceArn]) -> Mapping[InstanceArn, MailboxStatus]:
        """See the port."""
        closed = MailboxStatus(credential_holder=CredentialHolder.VM, closed=True)
        found = {arn: self._mail(self.store.boxes[arn]) for arn in arns if arn in self.store.boxes}
        return {**dict.fromkeys(self.store.closed.intersection(arns), closed), **found}

    def renew(self, arn: InstanceArn, credential: str) -> bool:
        """See the port."""
        box = self.store.boxes.get(arn)
        if box is None or box.credential is None:
            return False
        box.credential = credential
        return True

    def reissue(self, arn: InstanceArn, credential: str) -> bool:
        """See the port."""
        box = self.store.boxes.get(arn)
        if box is None or box.credential is not None or box.revoked or box.stage is not BootStage.CREDENTIAL_LOST:
            return False
        if box.reissues >= MAX_REISSUES:
            return False
        box.credential = credential
        box.reissues += 1
        return True

    def hold(self, arn: InstanceArn, seconds: int) -> bool:
        """See the port."""
        box = self.store.boxes.get(arn)
        if box is None or box.credential is not None or not box.revoked:
            return False
        box.hold_seconds = seconds
        return True

    def revoke_credential(self, arn: InstanceArn) -> bool:
        """See the port."""
        box = self.store.boxes.get(arn)
        if box is not None and box.credential is not None:
            box.credential, box.revoked = None, True
        return box is not None and box.revoked

    @staticmethod
    def _mail(box: Box) -> MailboxStatus:
        detail, waits = told_by(box.detail)
        gone = CredentialHolder.TRACKER if box.revoked else CredentialHolder.VM
        return MailboxStatus(
            credential_holder=gone if box.credential is None else CredentialHolder.MAILBOX,
            stage=box.stage,
            stage_seconds=box.stage_seconds,
            detail="".join(c if c.isprintable() else " " for c in detail)[:MAX_DETAIL_CHARACTERS],
            waits=waits,
        )
