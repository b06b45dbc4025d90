"""The ledger, the mailboxes and the leases in two DynamoDB tables.

`items` says how values look in a table, `table` asks DynamoDB single questions, `transactions` writes many things at
once; the other modules are the ports.
"""

from agent_stack.adapters.dynamodb.lease import DynamoLease
from agent_stack.adapters.dynamodb.ledger import DynamoLedger
from agent_stack.adapters.dynamodb.mailbox import DynamoMailbox
from agent_stack.adapters.dynamodb.table import SERVER_ERRORS, THROTTLES, Table
from agent_stack.adapters.dynamodb.transactions import Transactions

__all__ = [
    "SERVER_ERRORS",
    "THROTTLES",
    "DynamoLease",
    "DynamoLedger",
    "DynamoMailbox",
    "Table",
    "Transactions",
]
