"""Whether the operator's times and classes can work together. Checked at a deployment, not in every cycle."""

from collections.abc import Iterator
from datetime import timedelta

from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.policy import Policy

RESERVATION_MARGIN = timedelta(minutes=6)
"""What a reservation has over a boot: a minute in which EC2 is asked, and asked again, and five without a tracker."""


def validate_timeouts(policy: Policy, book: ClassBook) -> Iterator[ConfigurationError]:
    """What cannot work, each with its remedy."""
    for vm_class in book.classes.values():
        boot = vm_class.boot_timeout
        boots = f"class “{vm_class.name}” may take {_seconds(boot)} s to boot (boot_timeout_seconds)"
        if policy.reservation < boot + RESERVATION_MARGIN:
            yield ConfigurationError(
                setting="ReservationSeconds",
                value=_seconds(policy.reservation),
                problem=f"{boots}, and a reservation must outlast that by {_seconds(RESERVATION_MARGIN)} s",
                remedy=f"Set it to at least {_seconds(boot + RESERVATION_MARGIN)}, or the class's boot timeout lower.",
            )
        if policy.max_lifetime <= boot:
            yield ConfigurationError(
                setting="MaxLifetimeSeconds",
                value=_seconds(policy.max_lifetime),
                problem=f"{boots}, so its VMs could end before their agent starts",
                remedy="Set it to that and the length of your longest job, or the class's boot timeout lower.",
            )


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g}"
