"""Mutants that break the product's promises, one each; `scripts/mutate` expects the simulation to notice.

A promise that no mutant can break is not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

DISPATCHER, TRACKER = "agent_stack/dispatcher", "agent_stack/tracker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change that breaks a promise.

    Attributes:
        changes: file under functions/, what stands there, what stands there instead.
        seed: a world in which it was seen to. Played first, because the search for one can take minutes; it is made
            when that world has become another.
    """

    promise: str
    seed: int | None = None
    name: str
    changes: Sequence[tuple[str, str, str]]


MUTANTS = (
    Mutant(
        promise="I1",
        seed=175,
        name="do without the baton, and without ending VMs",
        changes=(
            (
                "agent_stack/domain/decisions.py",
                "        return Decision(action=Action.REVOKE, reason=reason)",
                "        return _try_again(s, failure or _REVOKED)",
            ),
            (
                "agent_stack/domain/decisions.py",
                'return Decision(action=Action.REVOKE, reason=f"the job is {s.job_state}")',
                'return Decision(action=Action.KEEP, reason=f"the job is {s.job_state}")',
            ),
            (
                "agent_stack/domain/decisions.py",
                "case Action.TERMINATE | Action.REQUEUE | Action.FINISH | Action.END:",
                "case Action.TERMINATE | Action.FINISH | Action.END:",
            ),
            (
                "agent_stack/domain/decisions.py",
                (
                    "case Action.KEEP | Action.RUN | Action.RECORD_JOB_OVER | Action.EXTEND | Action.REISSUE | "
                    "Action.REVOKE:\n            return False"
                ),
                "case _:\n            return False",
            ),
            (f"{TRACKER}/orphan_cleanup.py", "age > self.policy.orphan_grace", "age.days > 1"),
        ),
    ),
    Mutant(
        promise="I2",
        name="never hand back",
        changes=((f"{TRACKER}/requeue.py", "written(self.ledger.update, back, self.telemetry)", "back[:0]"),),
    ),
    Mutant(
        promise="I3",
        seed=22,
        name="sweep no orphans",
        changes=((f"{TRACKER}/orphan_cleanup.py", "age > self.policy.orphan_grace", "age.days > 1"),),
    ),
    Mutant(
        promise="I4",
        seed=12,
        name="let VMs live for ever",
        changes=(
            (
                f"{TRACKER}/orphan_cleanup.py",
                "cycle.now - born > self.policy.max_lifetime",
                "cycle.now - born > 99 * self.policy.max_lifetime",
            ),
        ),
    ),
    Mutant(
        promise="I5",
        name="forget what was told",
        changes=(
            (
                f"{TRACKER}/remember_notices.py",
                ".run.notices_sent | {notice.key for notice in notices_sent}",
                ".run.notices_sent",
            ),
        ),
    ),
    Mutant(
        promise="I6",
        seed=6,
        name="count no VMs before a launch",
        changes=((f"{DISPATCHER}/launch_room.py", "len(up | (recorded - shown.keys())) + self._coming(cycle)", "0"),),
    ),
    Mutant(
        promise="I7",
        seed=5,
        name="terminate under running agents",
        changes=(
            (
                "agent_stack/domain/decisions.py",
                'return Decision(action=Action.KEEP, reason="the job is the agent\'s")',
                'return Decision(action=Action.TERMINATE, reason="the job is the agent\'s")',
            ),
        ),
    ),
    Mutant(
        promise="I8",
        seed=1,
        name="repeat a finish like any other request",
        changes=(
            ("agent_stack/adapters/stacks_api/limits.py", "100, safety=Safety.ONCE", "100, safety=Safety.IDEMPOTENT"),
        ),
    ),
    Mutant(
        promise="I9",
        seed=2,
        name="look at nothing but news, in worlds that have none",
        changes=(
            (f"{TRACKER}/observe.py", "runs = self.ledger.active_runs()", "runs = self.ledger.active_runs()[:0]"),
        ),
    ),
    Mutant(
        promise="I10",
        name="log the credential",
        changes=(
            (
                f"{DISPATCHER}/bind.py",
                '                "job_bound",\n',
                '                "job_bound",\n                credential=credentials[run.job_id],\n',
            ),
        ),
    ),
    Mutant(
        promise="I11",
        seed=7,
        name="overlook a pause",
        changes=((f"{DISPATCHER}/poll.py", "any(page.paused for page in pages)", "False"),),
    ),
    Mutant(
        promise="I12",
        seed=634,
        name="stop every class for what EC2 says of one",
        changes=(
            ("agent_stack/domain/capacity.py", "for key in (ACCOUNT, name):", "for key in (ACCOUNT, *self.breakers):"),
            ("agent_stack/domain/capacity.py", "(key == name or breaker.definite)", "breaker.definite"),
        ),
    ),
    Mutant(
        promise="I13",
        seed=79,
        name="take a code that no document lists for a wrong class",
        changes=(
            (
                "agent_stack/domain/ec2_codes.py",
                "        scope=Scope.UNKNOWN,\n        effect=Effect.POOL_REFUSED,",
                "        scope=Scope.UNKNOWN,\n        effect=Effect.CLASS_REFUSED,",
            ),
        ),
    ),
)
