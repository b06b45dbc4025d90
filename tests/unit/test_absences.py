"""How often EC2 is asked for what it does not show."""

from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.stages.absences import MOST_AT_ONCE, SELDOM, TELLING, Absences
from tests.simulator.telemetry import RecordedTelemetry

ONE, OTHER = InstanceId("i-1"), InstanceId("i-2")


def test_what_was_shown_a_moment_ago_is_asked_for_at_once() -> None:
    absences = Absences(telemetry=RecordedTelemetry())
    for _ in range(5):
        absences.noted([ONE])
    assert absences.noted([ONE, OTHER]) == [OTHER]


def test_what_stays_hidden_is_asked_for_ever_more_seldom_and_never_forgotten() -> None:
    absences = Absences(telemetry=RecordedTelemetry())
    asked = [look for look in range(1, 4 * SELDOM + 1) if absences.noted([ONE])]
    assert asked == [1, 2, 4, 8, 16, 32, 64, 96, 128]


def test_a_row_ends_when_the_vm_is_shown_either_way() -> None:
    absences = Absences(telemetry=RecordedTelemetry())
    for _ in range(2):
        absences.noted([ONE, OTHER])
    absences.forget([ONE])
    assert absences.noted([ONE]) == [ONE]  # shown by its id
    assert absences.noted([OTHER]) == [OTHER]  # shown among the living in the look before


def test_a_long_row_is_told_now_and_then() -> None:
    telemetry = RecordedTelemetry()
    absences = Absences(telemetry=telemetry)
    for _ in range(40):
        absences.noted([ONE])
    assert [fields["count"] for _, _, fields in telemetry.records] == [TELLING, 16, 32]
    assert telemetry.peaks == {Metric.VMS_ABSENT: 1}


def test_a_tick_asks_for_a_bounded_number_and_the_next_for_the_rest() -> None:
    absences = Absences(telemetry=RecordedTelemetry())
    many = [InstanceId(f"i-{number:05}") for number in range(2 * MOST_AT_ONCE)]
    first, second = absences.noted(many), absences.noted(many)
    assert len(first) == len(second) == MOST_AT_ONCE
    assert set(first) | set(second) == set(many)
