"""Ports: what the steps need from other systems, as Protocols, one module for each system.

Adapters and fakes implement them and pass the same contract suites. Every method is one effect or one read, and raises
errors of `agent_stack.domain.errors` only.
"""

from dataclasses import dataclass

from agent_stack.domain.programs import VmProgram
from agent_stack.ports.buildkite import (
    JobDetails,
    JobStates,
    JobTokens,
    Notification,
    Reserved,
    StacksApi,
    TokenIdentity,
)
from agent_stack.ports.ec2 import Fleet, InstanceCatalog, InstanceTypes
from agent_stack.ports.runtime import Clock, Deadline, Field, Ids, Task, Telemetry, Workers
from agent_stack.ports.standby import StandbyVms
from agent_stack.ports.store import (
    Claims,
    ClassSource,
    ClosedMailboxes,
    HeldLease,
    Lease,
    Ledger,
    Mailbox,
    Programs,
    Secrets,
)
from agent_stack.ports.wake_ups import WakeUps


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All ports that the two chains use."""

    stacks: StacksApi
    fleet: Fleet
    instance_types: InstanceTypes
    ledger: Ledger
    mailbox: Mailbox
    programs: Programs
    standby: StandbyVms
    program: VmProgram
    classes: ClassSource
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    workers: Workers
    wake_ups: WakeUps


__all__ = [
    "Claims",
    "ClassSource",
    "Clock",
    "ClosedMailboxes",
    "Deadline",
    "Field",
    "Fleet",
    "HeldLease",
    "Ids",
    "InstanceCatalog",
    "InstanceTypes",
    "JobDetails",
    "JobStates",
    "JobTokens",
    "Lease",
    "Ledger",
    "Mailbox",
    "Notification",
    "Ports",
    "Programs",
    "Reserved",
    "Secrets",
    "StacksApi",
    "StandbyVms",
    "Task",
    "Telemetry",
    "TokenIdentity",
    "WakeUps",
    "Workers",
]
