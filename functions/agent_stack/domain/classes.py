"""Classes: the VM shapes the operator offers, and how a job picks one.

Pipelines are untrusted. A job chooses among what is listed here; nothing it says reaches EC2.
"""

from dataclasses import dataclass
from datetime import timedelta

from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.states import Market

CLASS_RULE = "class"
QUEUE_RULE = "queue"
_SHOWN_CLASSES = 8  # keeps a message on one line of the build page
_SHOWN_RULE_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class VmClass:
    """One named VM shape.

    Attributes:
        instance_types: in the operator's order of preference; never empty.
        ordered: the order of types is the operator's; otherwise the cheapest is asked first.
        image: an AMI id or `resolve:ssm:<parameter>`.
        root_device: the image's root device name; needed when `volume_gib` is given.
        max_instances: of this class at once; None for no bound but the deployment's.
        fallback: whether on-demand may be asked where spot has nothing.
        vcpus: of one VM, for the deployment's maximum of them; None where nobody counts.
        agent_tags: what agents of this class offer besides queue and class; `key=value`.
    """

    name: ClassName
    instance_types: tuple[str, ...]
    image: str
    ordered: bool = True
    market: Market = Market.ON_DEMAND
    root_device: str | None = None
    volume_gib: int | None = None
    max_instances: int | None = None
    fallback: bool = False
    vcpus: int | None = None
    boot_timeout: timedelta = timedelta(minutes=5)
    agent_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """Why no class fits, in words for the build page."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassBook:
    """All classes of a deployment.

    Attributes:
        default: the class of a job that names none.
        deployment_tags: agent tags every class offers.
    """

    classes: dict[ClassName, VmClass]
    default: ClassName
    deployment_tags: tuple[str, ...] = ()

    def match(self, rules: tuple[str, ...], queue: QueueKey) -> VmClass | Unmatched:
        """The class that satisfies every rule, or why none does.

        Args:
            rules: a job's agent query rules, `key=value`; a bare `key` asks for the value `true`, and `*`, in a rule
                or in a tag, stands for any.
            queue: where the job waits.
        """
        wanted = [_split(rule) for rule in rules]
        named = [value for key, value in wanted if key == CLASS_RULE]
        if len(set(named)) > 1:
            return Unmatched(reason=f"The job asks for more than one class: {_crop(', '.join(named))}.")
        name = ClassName(named[0]) if named else self.default
        vm_class = self.classes.get(name)
        if vm_class is None:
            return Unmatched(reason=f"There is no class “{_crop(name)}” here. {self._offer()}")
        offered = [_split(tag) for tag in (*self.deployment_tags, *vm_class.agent_tags)]
        for key, value in wanted:
            if key == CLASS_RULE or (key == QUEUE_RULE and value == queue):
                continue
            if key == QUEUE_RULE:
                return Unmatched(reason=f"The job asks for queue “{_crop(value)}” but waits in “{queue}”.")
            if not any(key == k and (value == "*" or v in ("*", value)) for k, v in offered):
                return Unmatched(
                    reason=f"Agents of class “{name}” do not offer “{_crop(f'{key}={value}')}”. "
                    f"They offer {self._tags(offered)}. {self._offer()}"
                )
        return vm_class

    def _offer(self) -> str:
        names = sorted(self.classes)
        more = f" and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else ""
        return f"Use class=<name> with one of: {', '.join(names[:_SHOWN_CLASSES])}{more}."

    @staticmethod
    def _tags(offered: list[tuple[str, str]]) -> str:
        return ", ".join(f"{key}={value}" for key, value in offered) or "no further tags"


def _split(rule: str) -> tuple[str, str]:
    key, separator, value = rule.partition("=")
    return key.strip(), value.strip() if separator else "true"


def _crop(untrusted: str) -> str:
    printable = "".join(c if c.isprintable() else "·" for c in untrusted)
    if len(printable) <= _SHOWN_RULE_CHARACTERS:
        return printable
    return printable[: _SHOWN_RULE_CHARACTERS - 1] + "…"
