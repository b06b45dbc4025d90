"""The port `Mailbox` over the mailbox table: one item for each VM, keyed by its ARN."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.table import Refused, Table
from agent_stack.adapters.dynamodb.wire import pack
from agent_stack.domain.errors import UnknownOutcomeError
from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.states import MAX_REISSUES, BootStage, CredentialHolder
from agent_stack.domain.vms import MailboxStatus
from agent_stack.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoMailbox:
    """The mailboxes, from the tracker's side."""

    table: Table
    clock: Clock

    def read(self, arns: Sequence[InstanceArn]) -> Mapping[InstanceArn, MailboxStatus]:
        """See the port."""
        keys = [{"instance_arn": {"S": arn}} for arn in dict.fromkeys(arns)]
        return {
            InstanceArn(item["instance_arn"]["S"]): items.read_mailbox_status(item)
            for item in self.table.get_many(keys)
        }

    def renew(self, arn: InstanceArn, credential: str) -> bool:
        """See the port. On the condition of the credential itself: what was taken never comes back."""
        answer = self.table.update(
            {"instance_arn": {"S": arn}},
            UpdateExpression="SET credential = :credential",
            ConditionExpression="attribute_exists(credential)",
            ExpressionAttributeValues=items.packed({":credential": credential}),
        )
        if isinstance(answer, Refused) and answer.in_doubt:
            raise UnknownOutcomeError("UpdateItem: a credential may have been renewed before the VM took it")
        return not isinstance(answer, Refused)

    def reissue(self, arn: InstanceArn, credential: str) -> bool:
        """See the port."""
        answer = self.table.update(
            {"instance_arn": {"S": arn}},
            UpdateExpression="SET credential = :credential ADD reissues :one",
            ConditionExpression="attribute_not_exists(credential) AND attribute_not_exists(revoked) AND stage = :lost "
            "AND (attribute_not_exists(reissues) OR reissues < :most)",
            ExpressionAttributeValues=items.packed(
                {":credential": credential, ":one": 1, ":lost": BootStage.CREDENTIAL_LOST, ":most": MAX_REISSUES}
            ),
        )
        if isinstance(answer, Refused) and answer.in_doubt:
            # After a lost answer the credential that stands there tells that the first try put it there.
            if answer.item is not None and answer.item.get("credential") == pack(credential):
                return True
            raise UnknownOutcomeError("UpdateItem: a credential may have been issued again")
        return not isinstance(answer, Refused)

    def hold(self, arn: InstanceArn, seconds: int) -> bool:
        """See the port. Whatever the tracker decides, a VM that took its credential, or still may, is not held."""
        answer = self.table.update(
            {"instance_arn": {"S": arn}},
            UpdateExpression="SET hold_seconds = :seconds",
            ConditionExpression="attribute_exists(revoked) AND attribute_not_exists(credential)",
            ExpressionAttributeValues=items.packed({":seconds": str(seconds)}),
        )
        return not isinstance(answer, Refused)

    def revoke_credential(self, arn: InstanceArn) -> bool:
        """See the port. The VM's own write has the same condition, so exactly one of the two succeeds."""
        answer = self.table.update(
            {"instance_arn": {"S": arn}},
            UpdateExpression="REMOVE credential SET revoked = :now",
            ConditionExpression="attribute_exists(credential)",
            ExpressionAttributeValues=items.packed({":now": items.seconds(self.clock.now())}),
        )
        if not isinstance(answer, Refused):
            return True
        # After a lost answer the repeated write is refused; the mark of the first tells that it was ours.
        return answer.item is not None and items.holder(answer.item) is CredentialHolder.TRACKER
