"""Whether the operator's times and classes can work together. Checked at a deployment, not in every cycle."""

from collections.abc import Iterator
from datetime import timedelta
from math import ceil

from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.policy import Policy
from agent_stack.domain.standby import shortest_hold

RESERVATION_MARGIN = timedelta(minutes=6)
"""What a reservation has over a boot: a minute in which EC2 is asked, and asked again, and five without a tracker."""


def validate_timeouts(policy: Policy, book: ClassBook) -> Iterator[ConfigurationError]:
    """What cannot work, each with its remedy."""
    for vm_class in book.classes.values():
        boot = vm_class.boot_timeout
        boots = _boots(vm_class)
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


def validate_standby(book: ClassBook) -> Iterator[ConfigurationError]:
    """Standby VMs that cannot be, each with its remedy. The jobs of their class run all the same."""
    for vm_class in book.classes.values():
        wants, shortest = vm_class.standby, shortest_hold(vm_class.boot_timeout)
        if wants is None or wants.least_age >= shortest:
            continue
        enough = ceil(shortest * (wants.max_age / wants.least_age) / timedelta(minutes=1))
        yield ConfigurationError(
            setting="standby.max_age_minutes",
            value=f"{wants.max_age / timedelta(minutes=1):g}",
            problem=f"{_boots(vm_class)}, so its standby VMs could end before they are ready, and none is launched",
            remedy=f"Set it to at least {enough}, or the class's boot timeout lower.",
        )


def _boots(vm_class: VmClass) -> str:
    return f"class “{vm_class.name}” may take {_seconds(vm_class.boot_timeout)} s to boot (boot_timeout_seconds)"


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g}"
