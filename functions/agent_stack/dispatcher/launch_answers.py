"""Launch answers: learns from EC2's answers to launches which VMs exist, which pools failed, and what is unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_stack.dispatcher.in_flight import Answer
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, LaunchPausedError, UnknownOutcomeError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import Intent, LaunchErrorClass, LaunchOutcome
from agent_stack.domain.vms import Vm
from agent_stack.ports import Ids, Telemetry

NEEDS_OPERATOR = frozenset({LaunchErrorClass.ACCOUNT, LaunchErrorClass.CONFIGURATION, LaunchErrorClass.UNRECOGNISED})
"""Errors that an operator must fix, because waiting does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What the dispatcher knows after the answers of one cycle.

    Attributes:
        idle_vms: the idle VMs by class, with the new ones.
        unknown: launches with an unknown outcome; another request could launch twice the VMs that are needed.
    """

    memory: LaunchMemory
    idle_vms: Mapping[ClassName, tuple[Vm, ...]]
    unknown: tuple[Intent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAnswers:
    """Adds each answer to the launch memory, and logs it."""

    ids: Ids
    telemetry: Telemetry

    def learn(
        self,
        answers: Sequence[Answer],
        memory: LaunchMemory,
        idle_vms: Mapping[ClassName, tuple[Vm, ...]],
        now: datetime,
    ) -> Learnt:
        """The memory and the idle VMs, with these answers added."""
        idle = dict(idle_vms)
        unknown: list[Intent] = []
        for intent, answer in answers:
            if isinstance(answer, LaunchOutcome):
                self._log(intent, answer)
                name = intent.class_name
                memory = memory.answered(
                    name, launched=len(answer.vms), errors=answer.errors, now=now, jitter=self.ids.fraction()
                )
                idle[name] = (*idle.get(name, ()), *answer.vms)
            elif isinstance(answer, UnknownOutcomeError):
                unknown.append(intent)
                self._warn("launch_unknown", intent, answer)
            elif isinstance(answer, LaunchPausedError):
                self.telemetry.info("launch_paused", class_name=intent.class_name, count=intent.count)
            else:
                self._warn("launch_failed", intent, answer)
                memory = memory.throttled(
                    now, self.ids.fraction()
                )  # EC2 was unreachable or throttled: both need a pause
        return Learnt(memory=memory, idle_vms=idle, unknown=tuple(unknown))

    def _log(self, intent: Intent, outcome: LaunchOutcome) -> None:
        for partial in outcome.errors:
            log = self.telemetry.error if partial.error_class in NEEDS_OPERATOR else self.telemetry.warning
            log(
                "launch_partial",
                class_name=intent.class_name,
                error_class=partial.error_class,
                code=partial.code,
                pool=partial.pool,
                error=partial.message,
            )
        self.telemetry.info(
            "vms_launched", class_name=intent.class_name, count=len(outcome.vms), intent_id=intent.intent_id
        )

    def _warn(self, message: str, intent: Intent, error: AgentStackError) -> None:
        self.telemetry.warning(message, class_name=intent.class_name, count=intent.count, error=str(error))
