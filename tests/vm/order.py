"""The order in which a VM may do what others can see, whatever happened to it: a law for every scenario."""

from collections.abc import Sequence

LIFETIME, BOOT, AGENT = "agent-stack-lifetime", "agent-stack-boot", "agent-stack-agent"
POWER_OFF = "systemctl poweroff"  # systemd's own, when the boot program was killed, is no step
READ = "dynamodb:GetItem"
PROGRAM = "dynamodb:GetItem program"
HOLD = "dynamodb:GetItem hold"
LOOKED_FOR_PROCESSES = "pgrep -u buildkite-agent"
STAGES = (
    "booting",
    "preparing",
    "credential_taken",
    "credential_lost",
    "agent_started",
    "spot_notice",
    "agent_exited",
    "failed",
)
"""As they may follow one another; a lost credential is given again, and taken."""


def assert_in_order(steps: Sequence[str]) -> None:
    """A VM that has ended did things in the right order.

    Args:
        steps: see `VmHarness.steps`; of a VM that has powered off.

    Raises:
        AssertionError: with the rule and the steps.
    """
    done = [step for step in steps if not step.endswith("denied")]
    first = {step: number for number, step in reversed(list(enumerate(done)))}
    never = len(done)

    def rule(text: str, holds: bool) -> None:  # noqa: FBT001  (the verdict)
        assert holds, f"{text}: {list(steps)}"

    asked = [number for number, step in enumerate(done) if ":" in step.split()[0]]
    rule("the lifetime timer comes first", done == [POWER_OFF] or done[0] == LIFETIME)
    rule("nothing is asked of AWS before the boot unit", min(asked, default=never) > first.get(BOOT, never - 1))
    stages = [
        (number, step.split()[1])
        for number, step in enumerate(done)
        if step.startswith("dynamodb:UpdateItem ") and step.split()[1] in STAGES
    ]
    rule("a mailbox is written only after it was read", not stages or first.get(READ, never) < stages[0][0])
    names = [name for _, name in stages]
    lost = names.index("credential_lost") if "credential_lost" in names else len(names)
    for part in (names[:lost], [name for name in names[lost + 1 :] if name != "credential_lost"]):
        rule("stages move forward", part == sorted(part, key=STAGES.index))
    taken = first.get("dynamodb:UpdateItem credential_taken", never)
    rule("at most one agent is started", done.count(AGENT) <= 1)
    rule("no agent without the credential", AGENT not in first or taken < first[AGENT])
    for stage in ("agent_started", "spot_notice", "agent_exited"):
        told = first.get(f"dynamodb:UpdateItem {stage}", never)
        rule(f"{stage} is told of an agent", told == never or first.get(AGENT, never) < told)
    asks = first.get(HOLD, never)
    failed = first.get("dynamodb:UpdateItem failed", never)
    rule("a hold is asked for after the failure is told", asks == never or failed < asks)
    looked = first.get(LOOKED_FOR_PROCESSES, never)
    rule("a hold is asked for once the job's user runs nothing", asks == never or failed < looked < asks)
    rule("a VM that took a credential is not held", never in {asks, taken})
    rule(
        "after a power-off nothing begins",
        not {LIFETIME, BOOT, AGENT} & set(done[first.get(POWER_OFF, never) :]),
    )
