"""Ledger, mailboxes and leases in memory, with DynamoDB's conditions: fast, and under the same contracts."""

from tests.simulator.memory.instance_types import MemoryInstanceTypes
from tests.simulator.memory.lease import MemoryLease
from tests.simulator.memory.ledger import MemoryLedger
from tests.simulator.memory.mailbox import MemoryMailbox
from tests.simulator.memory.rates import Rates
from tests.simulator.memory.standby import MemoryStandbyVms
from tests.simulator.memory.store import Store

__all__ = ["MemoryInstanceTypes", "MemoryLease", "MemoryLedger", "MemoryMailbox", "MemoryStandbyVms", "Rates", "Store"]
