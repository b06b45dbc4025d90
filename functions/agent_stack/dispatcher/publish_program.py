"""Publish program: the second stage of the boot program, before the first VM is asked for that will want it."""

from dataclasses import dataclass, field
from datetime import datetime

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.policy import Policy
from agent_stack.domain.programs import VmProgram, removable
from agent_stack.ports import Ledger, Programs, Telemetry


@dataclass(slots=True, kw_only=True)
class PublishProgram:
    """Once a process. Launches wait for it: a VM without its program powers off.

    Attributes:
        program: what came with this code.
        wanted: the hash in the user data of the launch template version that this process launches.
    """

    programs: Programs
    ledger: Ledger
    program: VmProgram
    wanted: str
    policy: Policy
    telemetry: Telemetry
    _published: bool = field(default=False, init=False)

    def done(self, now: datetime) -> bool:
        """Whether VMs find the program that they will want; makes it so where that can be done."""
        if not self._published:
            try:
                self._published = self._publish(now)
            except AgentStackError as error:
                self.telemetry.warning("program_not_published", program=self.wanted, error=str(error))
        return self._published

    def _publish(self, now: datetime) -> bool:
        if self.program.sha256 != self.wanted:
            # In the middle of a deployment, code and settings are of two versions: for a moment, and with the older
            # settings the program is there already.
            there = any(known.sha256 == self.wanted for known in self.programs.published())
            if not there:
                self.telemetry.warning("program_of_another_version", program=self.program.sha256, wanted=self.wanted)
            return there
        self.programs.publish(self.program)
        self.telemetry.info("program_published", program=self.wanted)
        self._tidy(now)
        return True

    def _tidy(self, now: datetime) -> None:
        """Remove programs that nothing can name any more. What fails here is left for the next process."""
        try:
            # Intents first: an intent that is closed in between has bound its VMs to runs by then.
            oldest_launch = min((intent.created_at for intent in self.ledger.open_intents()), default=None)
            bound = (run.binding for run in self.ledger.active_runs())
            oldest_vm = min((binding.launched_at for binding in bound if binding is not None), default=None)
            for known in self.programs.published():
                if removable(
                    known,
                    oldest_launch=oldest_launch,
                    oldest_vm=oldest_vm,
                    max_lifetime=self.policy.max_lifetime,
                    now=now,
                ):
                    self.programs.remove(known.sha256)
                    self.telemetry.info("program_removed", program=known.sha256)
        except AgentStackError as error:
            self.telemetry.info("programs_not_removed", error=str(error))
