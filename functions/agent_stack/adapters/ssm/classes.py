"""The port `ClassSource`: the operator's class document, else the deployment's own default."""

from collections.abc import Mapping
from datetime import timedelta

from agent_stack.adapters.class_errors import SETTING
from agent_stack.adapters.ssm.class_document import read_classes
from agent_stack.adapters.ssm.parameters import Parameters
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError, NotPermittedError, TransientError
from agent_stack.domain.identifiers import ClassName
from agent_stack.ports import Clock, InstanceCatalog, Telemetry

MAX_AGE = timedelta(seconds=60)
"""How soon an operator's change takes effect. A read each second would be throttled."""

RECHECK = timedelta(seconds=10)
"""The same while EC2 or IAM has not said yet what a class needs; a new permission takes seconds."""


class SsmClasses:
    """Reads the document at most once a minute.

    A class that is wrong is reported, and the others stay in use. While nothing of the document can be read, the last
    good one stays in force.
    """

    def __init__(
        self,
        *,
        parameters: Parameters,
        name: str,
        default_name: str,
        deployment_tags: tuple[str, ...],
        shapes: InstanceCatalog,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._parameters = parameters
        self._name = name
        self._default_name = default_name
        self._deployment_tags = deployment_tags
        self._shapes = shapes
        self._clock = clock
        self._telemetry = telemetry
        self._book: ClassBook | None = None
        self._due: timedelta | None = None
        self._said: Mapping[ClassName, str] = {}

    def book(self) -> ClassBook:
        """See the port."""
        now = self._clock.monotonic()
        if self._book is None or self._due is None or now >= self._due:
            self._book = self._refreshed(self._book)
            pending = any(isinstance(e, TransientError | NotPermittedError) for e in self._book.broken.values())
            self._due = now + (RECHECK if pending else MAX_AGE)
        return self._book

    def _refreshed(self, last_good: ClassBook | None) -> ClassBook:
        try:
            book = self._read()
        except AgentStackError as error:
            if last_good is None:
                raise
            self._telemetry.error("classes_not_refreshed", error=str(error))
            return last_good
        self._say(book.broken)
        return book

    def _say(self, broken: Mapping[ClassName, AgentStackError]) -> None:
        """Each wrong class once, and again when it is wrong in another way."""
        words = {name: str(error) for name, error in broken.items()}
        for name, error in words.items():
            if self._said.get(name) != error:
                self._telemetry.error("class_broken", class_name=name, error=error)
        self._said = words

    def _read(self) -> ClassBook:
        remedy = "Put a class document there; docs/reference/classes.md shows one."
        name = self._name
        text = self._parameters.find(name, setting=SETTING, remedy=remedy) if name else None
        if text is None:
            name = self._default_name
            text = self._parameters.read(name, setting="DefaultClasses", remedy="Deploy the stack again.")
        return read_classes(
            text,
            name=name,
            deployment_tags=self._deployment_tags,
            shapes=self._shapes,
            shipped=name == self._default_name,
        )
