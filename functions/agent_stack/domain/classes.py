"""Classes: the VM shapes the operator offers, and how a job picks one.

Pipelines are untrusted. A job chooses among what is listed here; nothing it says reaches EC2.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial

from agent_stack.domain.errors import AgentStackError, ConfigurationError
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.nearest import nearest
from agent_stack.domain.purchase_mix import PurchaseMix
from agent_stack.domain.standby_schedule import Standby
from agent_stack.domain.states import CapacityType, SpotStrategy

CLASS_RULE = "class"
TYPE_RULE = "instance-type"
CAPACITY_TYPE_RULE = "market"
QUEUE_RULE = "queue"
ANY = "*"
"""In a rule or in a tag: any value."""

_CAPACITY_TYPES = frozenset(capacity_type.value for capacity_type in CapacityType)
DEFAULT_QUEUE_ALIASES = frozenset({"_default", "__default__"})
"""What a stack may call the cluster's default queue. Source: Buildkite's documentation, and its client."""

_FALLBACK = "fallback"
"""Ends the name of a class that is asked for on-demand in place of spot. No rule of a job can say it."""

_TYPE = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
_SHOWN_CLASSES = 5  # keeps a message on one line of the build page
_SHOWN_RULE_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRequirements:
    """Attributes in place of instance types; EC2 says which types have them.

    Attributes:
        architecture: `x86_64` or `arm64`.
        accelerators, bare_metal: `excluded`, `included` or `required`.
        previous_generations: whether types of earlier generations are wanted, too.
    """

    architecture: str
    vcpus_min: int
    memory_gib_min: int
    vcpus_max: int | None = None
    memory_gib_max: int | None = None
    accelerators: str = "excluded"
    bare_metal: str = "excluded"
    previous_generations: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What a class says of its root volume; None leaves a part to the image, or to the type's own default."""

    kind: str = "gp3"
    gib: int | None = None
    iops: int | None = None
    throughput_mibs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmClass:
    """One named VM shape.

    Attributes:
        instance_types: in the operator's order of preference; never empty.
        ordered: the order of types is the operator's; otherwise the cheapest is asked first.
        image: an AMI id or `resolve:ssm:<parameter>`.
        root_device: the image's root device name; without it the volume is left as the image has it.
        volume: the root volume; None for the image's own.
        spot_strategy: how EC2 chooses among spot pools.
        spot_max_price: USD for an hour of one spot VM; None for the stack's limit.
        mix: of a spot class, which of its VMs are bought on-demand; None for none.
        max_instances: of this class at once; None for no bound but the deployment's.
        fallback: whether on-demand may be asked where spot has nothing.
        allowed_types: patterns of instance types that a job may choose in place of these; none by default.
        allowed_markets: markets that a job may choose.
        agent_tags: what agents of this class offer besides queue and class; `key=value`.
        standby: VMs that are up before a job asks for one; None for none.
        image_id: the AMI that `image` names now; empty where the class has no standby VMs, which alone need it.
    """

    name: ClassName
    instance_types: tuple[str, ...]
    image: str
    ordered: bool = True
    capacity_type: CapacityType = CapacityType.ON_DEMAND
    root_device: str | None = None
    volume: Volume | None = None
    spot_strategy: SpotStrategy = SpotStrategy.PRICE_CAPACITY_OPTIMIZED
    spot_max_price: Decimal | None = None
    mix: PurchaseMix | None = None
    max_instances: int | None = None
    fallback: bool = False
    boot_timeout: timedelta = timedelta(minutes=5)
    allowed_types: tuple[str, ...] = ()
    allowed_capacity_types: frozenset[CapacityType] = frozenset()
    agent_tags: tuple[str, ...] = ()
    standby: Standby | None = None
    image_id: str = ""

    def chosen(self, *, instance_type: str | None, capacity_type: CapacityType | None) -> "VmClass | Unmatched":
        """This class as a job wants it, under a name of its own, if the operator allows that.

        The name tells all of it, so that VMs of one shape are launched together and a record needs nothing more.
        """
        if instance_type is not None and not self._allows(instance_type):
            return Unmatched(why=self._not_allowed(TYPE_RULE, instance_type, self.allowed_types))
        if (
            capacity_type is not None
            and capacity_type is not self.capacity_type
            and capacity_type not in self.allowed_capacity_types
        ):
            return Unmatched(
                why=self._not_allowed(
                    CAPACITY_TYPE_RULE, capacity_type, sorted({self.capacity_type, *self.allowed_capacity_types})
                )
            )
        name = "/".join([self.name, *filter(None, (instance_type, capacity_type))])
        return replace(
            self,
            name=ClassName(name),
            instance_types=(instance_type,) if instance_type else self.instance_types,
            capacity_type=capacity_type or self.capacity_type,
            fallback=self.fallback and capacity_type is None,
            mix=self.mix if capacity_type is None else None,
            standby=None,  # a VM stands by for the class as the operator wrote it
        )

    @property
    def bought_on_demand(self) -> "VmClass":
        """The same VMs under the same name, on-demand."""
        return replace(self, capacity_type=CapacityType.ON_DEMAND, fallback=False, mix=None)

    def _allows(self, instance_type: str) -> bool:
        patterns = (*self.instance_types, *self.allowed_types)
        return _TYPE.fullmatch(instance_type) is not None and any(fnmatchcase(instance_type, p) for p in patterns)

    def _not_allowed(self, rule: str, value: str, allowed: Iterable[str]) -> str:
        listed = ", ".join(allowed) or "none besides its own"
        return f"Class “{self.name}” does not allow “{rule}={_crop(value)}”. It allows {listed}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """Why no class fits, in words for the build page.

    Attributes:
        why: what the job asks for and does not get.
        fits: says what would match. Only called where a person reads it, because it looks at every class.
    """

    why: str
    fits: Callable[[], str] = field(default=lambda: "", repr=False, compare=False)

    @property
    def reason(self) -> str:
        """Both, in one line."""
        return " ".join(filter(None, (self.why, self.fits())))


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenClass(Unmatched):
    """The class that the job asks for is wrong. An operator fixes it, so the job waits.

    Attributes:
        words: what is wrong, for the build page.
    """

    name: ClassName
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassBook:
    """All classes of a deployment.

    Attributes:
        default: the class of a job that names none.
        deployment_tags: agent tags every class offers.
        broken: classes that cannot be used, each with the reason. They affect only the jobs that ask for them.
        faults: those names in `broken` that are no class: a fault of the document around the classes.
    """

    classes: dict[ClassName, VmClass]
    default: ClassName
    deployment_tags: tuple[str, ...] = ()
    broken: Mapping[ClassName, AgentStackError] = field(default_factory=dict)
    faults: frozenset[ClassName] = frozenset()

    def match(self, rules: tuple[str, ...], queue: QueueKey) -> VmClass | Unmatched:
        """The class that satisfies every rule, or why none does.

        Args:
            rules: a job's agent query rules, `key=value`; a bare `key` asks for the value `true`, and `*`, in a rule
                or in a tag, stands for any.
            queue: where the job waits.
        """
        wanted = [_split(rule) for rule in rules]
        chosen: dict[str, str] = {}
        for rule in (CLASS_RULE, TYPE_RULE, CAPACITY_TYPE_RULE):
            named = list(dict.fromkeys(value for key, value in wanted if key == rule and value != ANY))
            if len(named) > 1:
                return Unmatched(why=f"The job asks for more than one {rule}: {_crop(', '.join(named))}.")
            if named:
                chosen[rule] = named[0]
        name = ClassName(chosen.get(CLASS_RULE, self.default))
        words = self.why_broken(name)
        if words is not None:
            return BrokenClass(name=name, words=words, why=f"Class “{_crop(name)}” cannot be used: {words}.")
        tags = [(key, value) for key, value in wanted if key not in (CLASS_RULE, TYPE_RULE, CAPACITY_TYPE_RULE)]
        for key, value in tags:
            if key == QUEUE_RULE and value not in (queue, ANY) and not is_default_alias(queue):
                return Unmatched(why=f"The job asks for queue “{_crop(value)}” but waits in “{queue}”.")
        tags = [(key, value) for key, value in tags if key != QUEUE_RULE]
        vm_class = self.classes.get(name)
        if vm_class is None:
            return Unmatched(why=f"There is no class “{_crop(name)}” here.", fits=partial(self._fits, name, tags))
        missing = self._missing(vm_class, tags)
        if missing is not None:
            return Unmatched(
                why=f"Agents of class “{name}” do not offer “{_crop('='.join(missing))}”. "
                f"They offer {self._tags(self._offered(vm_class))}.",
                fits=partial(self._fits, name, tags),
            )
        return _as_wanted(vm_class, chosen)

    def find(self, name: ClassName) -> VmClass | None:
        """The class of that name, as a job chose it if the name says so; None when it is not, or no longer, offered.

        Under a name of `on_demand_name` it is asked for on-demand, as long as the operator lets it fall back.
        """
        base, *choices = name.split("/")
        vm_class = self.classes.get(ClassName(base))
        if vm_class is None or not choices:
            return vm_class
        capacity_types = [choice for choice in choices if choice in _CAPACITY_TYPES]
        types = [choice for choice in choices if choice not in (*_CAPACITY_TYPES, _FALLBACK)]
        shaped = vm_class.chosen(
            instance_type=types[0] if types else None,
            capacity_type=CapacityType(capacity_types[0]) if capacity_types else None,
        )
        if isinstance(shaped, Unmatched) or _FALLBACK not in choices:
            return None if isinstance(shaped, Unmatched) else shaped
        capacity_type = CapacityType.ON_DEMAND if shaped.fallback else shaped.capacity_type
        return replace(shaped, name=name, capacity_type=capacity_type, fallback=False, mix=None, standby=None)

    def why_broken(self, name: ClassName) -> str | None:
        """What is wrong with that class, as a job may have chosen it; None when it can be used, or is not offered."""
        error = self.broken.get(name) or self.broken.get(base_name(name))
        if error is None:
            return None
        return error.problem if isinstance(error, ConfigurationError) else str(error)

    def _offered(self, vm_class: VmClass) -> list[tuple[str, str]]:
        return [_split(tag) for tag in (*self.deployment_tags, *vm_class.agent_tags)]

    def _missing(self, vm_class: VmClass, tags: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
        """The first of these rules that agents of the class do not satisfy; None when they satisfy all."""
        offered = self._offered(vm_class)
        for key, value in tags:
            if not any(key == k and (value == ANY or v in (ANY, value)) for k, v in offered):
                return key, value
        return None

    def _fits(self, asked: ClassName, tags: Sequence[tuple[str, str]]) -> str:
        """The classes that satisfy the job's other rules, the nearest names first; all classes if none does."""
        fitting = [name for name, vm_class in self.classes.items() if self._missing(vm_class, tags) is None]
        among = fitting or list(self.classes)
        names = nearest(asked, among, count=_SHOWN_CLASSES)
        more = f" and {len(among) - len(names)} more" if len(among) > len(names) else ""
        what = "Would match" if fitting else "No class offers that. Classes"
        return f"{what}: {', '.join(f'class={name}' for name in names)}{more}."

    @staticmethod
    def _tags(offered: list[tuple[str, str]]) -> str:
        return ", ".join(f"{key}={value}" for key, value in offered) or "no further tags"


def base_name(name: ClassName) -> ClassName:
    """The operator's name of a class that a job may have chosen more of."""
    return ClassName(name.partition("/")[0])


def on_demand_name(name: ClassName) -> ClassName:
    """What a class that spot has failed is asked for as: on-demand, if it may fall back."""
    return name if name.endswith(f"/{_FALLBACK}") else ClassName(f"{name}/{_FALLBACK}")


def is_default_alias(queue: QueueKey) -> bool:
    """Whether that stands for the cluster's default queue, whose own key only Buildkite knows."""
    return queue in DEFAULT_QUEUE_ALIASES


def _as_wanted(vm_class: VmClass, wanted: Mapping[str, str]) -> VmClass | Unmatched:
    """What the rules choose within the class; silence chooses nothing."""
    instance_type, capacity_type = wanted.get(TYPE_RULE), wanted.get(CAPACITY_TYPE_RULE)
    if instance_type is None and capacity_type is None:
        return vm_class
    if capacity_type is not None and capacity_type not in _CAPACITY_TYPES:
        return Unmatched(why=f"There is no market “{_crop(capacity_type)}”. Use {' or '.join(sorted(CapacityType))}.")
    return vm_class.chosen(
        instance_type=instance_type, capacity_type=CapacityType(capacity_type) if capacity_type else None
    )


def _split(rule: str) -> tuple[str, str]:
    key, separator, value = rule.partition("=")
    return key.strip(), value.strip() if separator else "true"


def _crop(untrusted: str) -> str:
    printable = "".join(c if c.isprintable() else "·" for c in untrusted)
    if len(printable) <= _SHOWN_RULE_CHARACTERS:
        return printable
    return printable[: _SHOWN_RULE_CHARACTERS - 1] + "…"
