"""Types on their way: of which instance types the VMs are that open launches have brought or may bring.

A class document may name other types by now, or leave the class out. The stored request says what was asked for.
"""

from collections.abc import Iterable, Mapping

from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import Intent
from agent_stack.ports import Fleet


def types_on_their_way(intents: Iterable[Intent], fleet: Fleet) -> Mapping[ClassName, frozenset[str]]:
    """By class: the types of the VMs that EC2 named in its answer, or else those of the request."""
    found: dict[ClassName, frozenset[str]] = {}
    for intent in intents:
        answered = frozenset(vm.instance_type for vm in intent.vms)
        types = answered if answered and all(answered) else fleet.types_of(intent.request)
        found[intent.class_name] = found.get(intent.class_name, frozenset()) | types
    return found
