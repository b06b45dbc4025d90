"""Before a launch VMs find the program that its template version names, and none is removed that a VM may want."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from agent_stack.dispatcher.publish_program import PublishProgram
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import ClassName, IntentId, QueueKey
from agent_stack.domain.launching import Intent
from agent_stack.domain.programs import MARGIN, PublishedProgram, VmProgram
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.memory.programs import MemoryPrograms
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import a_policy, a_run, a_vm

OLD, NEW = VmProgram(text="old"), VmProgram(text="new")
LIFETIME = timedelta(hours=24)


@dataclass(slots=True, kw_only=True)
class Place:
    """A table, and processes of dispatchers that come and go."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    store: Store = field(default_factory=Store)
    telemetry: RecordedTelemetry = field(default_factory=RecordedTelemetry)
    programs: MemoryPrograms = field(init=False)

    def __post_init__(self) -> None:
        self.programs = MemoryPrograms(clock=self.clock)

    def process(self, *, code: VmProgram, settings: VmProgram) -> PublishProgram:
        return PublishProgram(
            programs=self.programs,
            ledger=MemoryLedger(store=self.store),
            program=code,
            wanted=settings.sha256,
            policy=a_policy(max_lifetime=LIFETIME),
            telemetry=self.telemetry,
        )

    def launches(self, *, code: VmProgram, settings: VmProgram) -> bool:
        """A new process with that artefact and those settings: whether it may launch."""
        return self.process(code=code, settings=settings).done(self.clock.now())

    def there(self) -> dict[str, bool]:
        """The programs that VMs find, and whether each is the current one."""
        return {known.sha256: known.superseded_at is None for known in self.programs.published()}


def open_launch(place: Place) -> Intent:
    intent = Intent(
        intent_id=IntentId("intent"),
        class_name=ClassName("default"),
        request="{}",
        count=1,
        queues=(QueueKey("default"),),
        created_at=place.clock.now(),
    )
    place.store.intents[intent.intent_id] = intent
    return intent


def test_a_process_publishes_its_program_once(place: Place) -> None:
    process = place.process(code=NEW, settings=NEW)
    assert process.done(EPOCH)
    place.programs.superseded.clear()  # it does not look again
    assert process.done(EPOCH)
    assert place.there() == {}
    assert place.telemetry.messages() == ["program_published"]


def test_new_code_with_old_settings_launches_while_the_old_program_is_there(place: Place) -> None:
    assert place.launches(code=OLD, settings=OLD)
    assert place.launches(code=NEW, settings=OLD)
    assert place.there() == {OLD.sha256: True}


def test_old_code_with_new_settings_launches_nothing_until_new_code_came(place: Place) -> None:
    waiting = place.process(code=OLD, settings=NEW)
    assert not waiting.done(EPOCH)
    assert place.telemetry.messages("WARNING") == ["program_of_another_version"]
    assert place.launches(code=NEW, settings=NEW)
    assert waiting.done(EPOCH)


def test_after_a_rollback_the_old_program_is_there_and_the_current_one(place: Place) -> None:
    for program in (OLD, NEW, OLD):
        assert place.launches(code=program, settings=program)
    assert place.there() == {OLD.sha256: True, NEW.sha256: False}


def test_a_program_outlives_every_vm_that_may_want_it_and_no_longer(place: Place) -> None:
    place.launches(code=OLD, settings=OLD)
    place.launches(code=NEW, settings=NEW)
    place.clock.sleep(LIFETIME)
    place.launches(code=NEW, settings=NEW)
    assert OLD.sha256 in place.there()
    place.clock.sleep(MARGIN)
    place.launches(code=NEW, settings=NEW)
    assert OLD.sha256 in place.there(), "clocks differ, and EC2 shows VMs late"
    place.clock.sleep(timedelta(seconds=1))
    place.launches(code=NEW, settings=NEW)
    assert place.there() == {NEW.sha256: True}
    assert "program_removed" in place.telemetry.messages()


def test_a_launch_that_may_be_replayed_keeps_its_program(place: Place) -> None:
    place.launches(code=OLD, settings=OLD)
    intent = open_launch(place)
    place.launches(code=NEW, settings=NEW)
    place.clock.sleep(LIFETIME * 3)
    place.launches(code=NEW, settings=NEW)
    assert OLD.sha256 in place.there()
    del place.store.intents[intent.intent_id]
    place.launches(code=NEW, settings=NEW)
    assert OLD.sha256 not in place.there()


def test_a_vm_of_an_active_run_keeps_its_program_however_short_the_lifetime_is_now(place: Place) -> None:
    """The operator shortened MaxLifetimeSeconds after that VM was launched."""
    place.launches(code=OLD, settings=OLD)
    run = a_run().bound(a_vm(launched_at=place.clock.now()), now=place.clock.now())
    place.store.runs[run.job_id] = run
    place.launches(code=NEW, settings=NEW)
    place.clock.sleep(LIFETIME * 3)
    place.launches(code=NEW, settings=NEW)
    assert OLD.sha256 in place.there()
    del place.store.runs[run.job_id]
    place.launches(code=NEW, settings=NEW)
    assert OLD.sha256 not in place.there()


def test_a_vm_that_was_launched_after_the_successor_keeps_nothing(place: Place) -> None:
    place.launches(code=OLD, settings=OLD)
    place.launches(code=NEW, settings=NEW)
    place.clock.sleep(MARGIN + timedelta(seconds=1))
    run = a_run().bound(a_vm(launched_at=place.clock.now()), now=place.clock.now())
    place.store.runs[run.job_id] = run
    place.clock.sleep(LIFETIME)
    place.launches(code=NEW, settings=NEW)
    assert place.there() == {NEW.sha256: True}


class Broken(MemoryPrograms):
    """A table that fails now and then."""

    fail = True

    def published(self) -> Sequence[PublishedProgram]:
        if self.fail:
            raise RetryError("not now")
        return MemoryPrograms.published(self)

    def publish(self, program: VmProgram) -> None:
        if self.fail:
            raise RetryError("not now")
        MemoryPrograms.publish(self, program)


def test_a_table_that_fails_holds_launches_back_until_it_works(place: Place) -> None:
    broken = place.programs = Broken(clock=place.clock)
    process = place.process(code=NEW, settings=NEW)
    assert not process.done(EPOCH)
    assert place.telemetry.messages("WARNING") == ["program_not_published"]
    broken.fail = False
    assert process.done(EPOCH)


def test_old_programs_that_cannot_be_listed_or_removed_hold_no_launch_back(place: Place) -> None:
    class Kept(MemoryPrograms):
        def published(self) -> Sequence[PublishedProgram]:
            raise RetryError("not now")

    place.programs = Kept(clock=place.clock)
    assert place.launches(code=NEW, settings=NEW)
    assert "programs_not_removed" in place.telemetry.messages("INFO")


@pytest.fixture
def place() -> Place:
    return Place()
