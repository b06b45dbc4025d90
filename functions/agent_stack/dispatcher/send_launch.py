"""Send launch: writes an intent, under the lease's fencing number, and then sends its request beside the cycle."""

from dataclasses import dataclass
from datetime import timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.domain.errors import AgentStackError, GiveUpError
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.launching import Intent, LaunchOrder
from agent_stack.domain.measures import Metric
from agent_stack.ports import Fleet, Ledger, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class SendLaunch:
    """Sends one order. After a crash between the intent and its answer, the next cycle finds the open intent."""

    fleet: Fleet
    ledger: Ledger
    in_flight: InFlightLaunches
    telemetry: Telemetry

    def __call__(self, order: LaunchOrder, cycle: DispatcherCycle, *, queues: tuple[QueueKey, ...]) -> bool:
        """Whether it was sent.

        Args:
            queues: those whose pause stops the request.
        """
        intent = Intent(
            intent_id=order.intent_id,
            class_name=order.vm_class.name,
            request=self.fleet.render(order),
            count=order.count,
            queues=queues,
            created_at=self.in_flight.clock.now(),  # a cycle may have waited for a minute before
            capacity_type=order.capacity_type,
            hold=order.hold,
            shape=self.fleet.shape(order.vm_class) if order.hold is not None else "",
        )
        self.in_flight.counts(intent)  # also when the answer is lost, because the intent may be there and be replayed
        try:
            self.ledger.write_intent(intent, fence=cycle.fence)
        except GiveUpError:
            self.telemetry.info("lease_lost_before_launch", class_name=intent.class_name, count=intent.count)
            return False
        except AgentStackError as error:
            self.telemetry.error(
                "intent_not_written", class_name=intent.class_name, count=intent.count, error=str(error)
            )
            return False
        self.in_flight.is_written(intent)
        self.in_flight.begin(intent)
        self.telemetry.count(Metric.VMS_ASKED_FOR, intent.count)
        self._say(intent, order.hold)
        return True

    def _say(self, intent: Intent, hold: timedelta | None) -> None:
        name, count, intent_id = intent.class_name, intent.count, intent.intent_id
        if hold is None:
            self.telemetry.info("vms_requested", class_name=name, count=count, intent_id=intent_id)
        else:
            seconds = round(hold.total_seconds())
            self.telemetry.info(
                "standby_requested", class_name=name, count=count, intent_id=intent_id, hold_seconds=seconds
            )
