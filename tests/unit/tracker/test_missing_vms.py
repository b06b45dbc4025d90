"""How often EC2 is asked for what it does not show."""

from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.tracker.missing_vms import MAX_LOOKUP_GAP, MAX_LOOKUPS, WARN_AFTER, MissingVms
from tests.simulator.telemetry import RecordedTelemetry

ONE, OTHER = InstanceId("i-1"), InstanceId("i-2")


def test_what_was_shown_a_moment_ago_is_asked_for_at_once() -> None:
    absences = MissingVms(telemetry=RecordedTelemetry())
    for _ in range(5):
        absences.record_missing([ONE])
    assert absences.record_missing([ONE, OTHER]) == [OTHER]


def test_what_stays_hidden_is_asked_for_ever_more_seldom_and_never_forgotten() -> None:
    absences = MissingVms(telemetry=RecordedTelemetry())
    asked = [look for look in range(1, 4 * MAX_LOOKUP_GAP + 1) if absences.record_missing([ONE])]
    assert asked == [1, 2, 4, 8, 16, 32, 64, 96, 128]


def test_a_row_ends_when_the_vm_is_shown_either_way() -> None:
    absences = MissingVms(telemetry=RecordedTelemetry())
    for _ in range(2):
        absences.record_missing([ONE, OTHER])
    absences.forget([ONE])
    assert absences.record_missing([ONE]) == [ONE]  # shown by its id
    assert absences.record_missing([OTHER]) == [OTHER]  # shown among the living in the look before


def test_a_long_row_is_told_now_and_then() -> None:
    telemetry = RecordedTelemetry()
    absences = MissingVms(telemetry=telemetry)
    for _ in range(40):
        absences.record_missing([ONE])
    assert [fields["count"] for _, _, fields in telemetry.records] == [WARN_AFTER, 16, 32]
    assert telemetry.peaks == {Metric.VMS_ABSENT: 1}


def test_a_tick_asks_for_a_bounded_number_and_the_next_for_the_rest() -> None:
    absences = MissingVms(telemetry=RecordedTelemetry())
    many = [InstanceId(f"i-{number:05}") for number in range(2 * MAX_LOOKUPS)]
    first, second = absences.record_missing(many), absences.record_missing(many)
    assert len(first) == len(second) == MAX_LOOKUPS
    assert set(first) | set(second) == set(many)
