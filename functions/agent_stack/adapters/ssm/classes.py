"""The port `ClassSource`: the operator's class document, else the deployment's own default."""

from datetime import datetime, timedelta

from agent_stack.adapters.ssm.class_document import SETTING, read_classes
from agent_stack.adapters.ssm.parameters import Parameters
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError
from agent_stack.ports import Clock, InstanceCatalog, Telemetry

MAX_AGE = timedelta(seconds=60)
"""How soon an operator's change takes effect. A read each second would be throttled."""


class SsmClasses:
    """Reads the document at most once a minute. A broken change is reported, and the last good one stays in force."""

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
        self._read_at: datetime | None = None

    def book(self) -> ClassBook:
        """See the port."""
        now = self._clock.now()
        if self._book is None or self._read_at is None or now - self._read_at >= MAX_AGE:
            self._book = self._refreshed(self._book)
            self._read_at = now
        return self._book

    def _refreshed(self, last_good: ClassBook | None) -> ClassBook:
        try:
            return self._read()
        except AgentStackError as error:
            if last_good is None:
                raise
            self._telemetry.error("classes_not_refreshed", error=str(error))
            return last_good

    def _read(self) -> ClassBook:
        remedy = "Put a class document there; docs/classes.md shows one."
        name = self._name
        text = self._parameters.find(name, setting=SETTING, remedy=remedy) if name else None
        if text is None:
            name = self._default_name
            text = self._parameters.read(name, setting="DefaultClasses", remedy="Deploy the stack again.")
        return read_classes(text, name=name, deployment_tags=self._deployment_tags, shapes=self._shapes)
