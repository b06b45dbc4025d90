"""Chain: the tracker's steps, in order. This is the only list of them.

A chain is a tuple of steps; each takes the cycle and returns the next one. Notifications go out last, because nothing
waits for them: the run remembers a notice early, and `SendNotifications` sends it when all else is done. With
`ObserveOnly` the chain has no step that changes anything. `RefreshCredentials` runs only with job acquisition tokens. A
`BestEffort` step may fail without stopping the cycle.
"""

from agent_stack.best_effort import BestEffort
from agent_stack.domain.policy import Policy
from agent_stack.ports import Ports
from agent_stack.tracker.close import Close
from agent_stack.tracker.cycle import TrackerStep
from agent_stack.tracker.decide import Decide
from agent_stack.tracker.extend import Extend
from agent_stack.tracker.finish import Finish
from agent_stack.tracker.hold_failed_vms import HoldFailedVms
from agent_stack.tracker.metrics import TrackerMetrics
from agent_stack.tracker.missing_vms import MissingVms
from agent_stack.tracker.notify_waiting import NotifyWaiting
from agent_stack.tracker.observe import Observe
from agent_stack.tracker.orphan_cleanup import OrphanCleanup
from agent_stack.tracker.refresh_credentials import RefreshCredentials
from agent_stack.tracker.remember_notices import RememberNotices
from agent_stack.tracker.requeue import Requeue
from agent_stack.tracker.revoke import Revoke
from agent_stack.tracker.send_notifications import SendNotifications
from agent_stack.tracker.standby_watch import StandbyWatch
from agent_stack.tracker.status_checks import StatusChecks
from agent_stack.tracker.surplus_vms import SurplusVms
from agent_stack.tracker.terminate import Terminate
from agent_stack.tracker.unnamed_jobs import UnnamedJobs


def tracker_steps(ports: Ports, policy: Policy, *, job_tokens: bool) -> tuple[TrackerStep, ...]:
    """The tracker's chain.

    Args:
        job_tokens: agents register with job acquisition tokens, which the tracker must refresh.
    """
    telemetry = ports.telemetry
    stacks, fleet, ledger, mailbox = ports.stacks, ports.fleet, ports.ledger, ports.mailbox
    observing: tuple[TrackerStep, ...] = (
        Observe(
            fleet=fleet,
            ledger=ledger,
            stacks=stacks,
            mailbox=mailbox,
            classes=ports.classes,
            missing_vms=MissingVms(telemetry=telemetry),
            unnamed_jobs=UnnamedJobs(telemetry=telemetry),
            checks=StatusChecks(fleet=fleet, telemetry=telemetry),
            standby=StandbyWatch(records=ports.standby, telemetry=telemetry),
            policy=policy,
            telemetry=telemetry,
        ),
        Decide(telemetry=telemetry),
    )
    hold = HoldFailedVms(fleet=fleet, ledger=ledger, mailbox=mailbox, policy=policy, telemetry=telemetry)
    notices = RememberNotices(ledger=ledger, policy=policy, telemetry=telemetry)
    waiting = NotifyWaiting(ledger=ledger, policy=policy, telemetry=telemetry)
    extend = Extend(stacks=stacks, ledger=ledger, policy=policy, telemetry=telemetry)
    credentials = RefreshCredentials(stacks=stacks, mailbox=mailbox, policy=policy, telemetry=telemetry)
    cleanup = OrphanCleanup(
        fleet=fleet,
        ledger=ledger,
        surplus_vms=SurplusVms(ledger=ledger, mailbox=mailbox, telemetry=telemetry),
        policy=policy,
        telemetry=telemetry,
    )
    send = SendNotifications(stacks=stacks, clock=ports.clock, telemetry=telemetry)
    acting: tuple[TrackerStep, ...] = (
        Revoke(mailbox=mailbox, ledger=ledger, stacks=stacks, telemetry=telemetry),
        hold,
        BestEffort(step=notices, telemetry=telemetry),
        BestEffort(step=extend, telemetry=telemetry),
        *((BestEffort(step=credentials, telemetry=telemetry),) if job_tokens else ()),
        Terminate(fleet=fleet, policy=policy, telemetry=telemetry),
        Requeue(ledger=ledger, classes=ports.classes, telemetry=telemetry),
        Finish(stacks=stacks, fleet=fleet, ledger=ledger, clock=ports.clock, telemetry=telemetry),
        Close(ledger=ledger, telemetry=telemetry),
        BestEffort(step=cleanup, telemetry=telemetry),
        BestEffort(step=waiting, telemetry=telemetry),
        BestEffort(step=send, telemetry=telemetry),
    )
    measure = TrackerMetrics(policy=policy, clock=ports.clock, telemetry=telemetry)
    return (*observing, *(() if policy.observe_only else acting), measure)
