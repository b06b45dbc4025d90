"""VM count: how many VMs may be up, from one look at EC2 and the launches since then.

EC2 shows a thousand VMs on a page, and a small function needs a tenth of a second to read each hundred. So a cycle that
launches does not look anew while the latest look leaves room. VMs become more by launches of the dispatcher alone, and
the ledger counts these, in the transaction that writes the intent. So what a look showed, with all launches since, is
never too few. It may be too many, because VMs end meanwhile; a cycle that lacks room looks again. The ledger keeps the
latest look, because the next lease holder may be another process. A lease holder of an earlier version launched without
counting, so a look from before its time counts for nothing.

The write of an intent may fail, and the intent be there nevertheless. Its VMs count as launched, and as launched after
each look: they may come at any time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.launching import Launched, VmLook
from agent_stack.domain.moments import has_passed
from agent_stack.ports import Ledger, Task, Workers

MAX_AGE = timedelta(minutes=10)
"""A look is made again after this time, in case that somebody else started VMs with the stack's tag."""

LONGEST_LOOK = timedelta(minutes=1)
"""How long the look before counts on while thousands of VMs are read."""

TIMEOUT = timedelta(seconds=1)
"""Of the read of the ledger's count, which takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """The ledger's count under one lease, under which only this process launches.

    Attributes:
        sent: VMs that this process had asked for by then.
        in_doubt: those of them whose intent the ledger may not have.
    """

    fence: int
    sent: int
    in_doubt: int
    read: Task[Launched]


@dataclass(slots=True, kw_only=True)
class VmCount:
    """The latest look that this process knows of. `launch_room` writes it.

    Attributes:
        most: how many VMs may be up.
    """

    ledger: Ledger
    in_flight: InFlightLaunches
    workers: Workers
    most: int
    write_beside: Callable[[str, Callable[[], None]], None]
    _counted: _Counted | None = field(default=None, init=False)
    _look: VmLook | None = field(default=None, init=False)

    def prepare(self, fence: int) -> None:
        """Reads the ledger's count beside the cycle, once under a lease.

        Where this process had the lease before this one, too, it knows the count, unless an intent is in doubt: under a
        new number that intent cannot arrive any more.
        """
        sent, in_doubt = self.in_flight.vms_sent, self.in_flight.vms_in_doubt
        before = self._counted
        if before is not None and before.fence == fence - 1 and before.in_doubt == in_doubt:
            self._counted = replace(before, fence=fence)
        elif before is None or before.fence != fence:
            read = self.workers.submit(self.ledger.launched)
            self._counted = _Counted(fence=fence, sent=sent, in_doubt=in_doubt, read=read)

    def launched(self, fence: int) -> Launched | None:
        """How many VMs dispatchers have ever asked for, at most; None when the ledger does not answer."""
        self.prepare(fence)
        counted = self._counted
        if counted is None:
            return None
        self.workers.wait([counted.read], TIMEOUT)
        try:
            before = counted.read.result() if counted.read.done() else None
        except AgentStackError:
            before = None
        if before is None:
            self._counted = None  # the next cycle reads again
            return None
        looks = [look for look in (self._look, before.look) if look and look.uncounted == before.uncounted]
        self._look = max(looks, key=lambda look: look.launched, default=None)
        return replace(before, vms=before.vms + self.in_flight.vms_sent - counted.sent)

    def surely_launched(self, fence: int) -> Launched | None:
        """The same at least: without VMs whose intent the ledger may not have."""
        launched, counted = self.launched(fence), self._counted
        if launched is None or counted is None:
            return None
        return replace(launched, vms=launched.vms - (self.in_flight.vms_in_doubt - counted.in_doubt))

    def left(self, cycle: DispatcherCycle) -> int | None:
        """How many more VMs may start, at least; None when it takes a look to know that."""
        launched = self.launched(cycle.fence)
        look = self._look
        if launched is None or look is None or has_passed(MAX_AGE + LONGEST_LOOK, look.at, cycle.now):
            return None
        return self.most - look.taken - (launched.vms - look.launched)

    def suffices(self, cycle: DispatcherCycle, vms: int) -> bool:
        """Whether so many VMs may start without another look."""
        left, look = self.left(cycle), self._look
        fresh = look is not None and not has_passed(MAX_AGE, look.at, cycle.now)
        return fresh and left is not None and left >= vms

    def learn(self, taken: int, cycle: DispatcherCycle, at: datetime) -> None:
        """A look, made at that time, shows that so many VMs may be up now."""
        launched = self.surely_launched(cycle.fence)
        if launched is not None:
            self._look = VmLook(taken=taken, launched=launched.vms, uncounted=launched.uncounted, at=at)
            self.write_beside("vm_look_not_recorded", partial(self.ledger.record_look, self._look))
