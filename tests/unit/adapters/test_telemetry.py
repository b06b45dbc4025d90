"""The adapter to Powertools: what is written, when, and how much of it."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.domain.launching import LaunchErrorClass
from agent_stack.domain.measures import NAMESPACE, SPLIT, Activity, Function, Metric, Step, dimensions
from tests.simulator.clock import EPOCH
from tests.simulator.watching.metrics import MetricStore


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def telemetry(log: io.StringIO, request: pytest.FixtureRequest) -> PowertoolsTelemetry:
    logger = Logger(service=request.node.name, level="INFO", location=None, stream=log)
    return PowertoolsTelemetry(logger=logger, namespace=NAMESPACE, deployment="stack")


def written(telemetry: PowertoolsTelemetry, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    telemetry.flush()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_shift_of_ticks_is_one_line_for_each_set_of_dimensions(
    telemetry: PowertoolsTelemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(60):
        telemetry.count(Metric.CYCLES_COMPLETED, of=Function.DISPATCHER)
        telemetry.peak(Metric.JOBS_WAITING, 3)
        telemetry.count(Metric.VMS_ASKED_FOR, 2)
    telemetry.seconds(Metric.WAIT_SECONDS, 1.5)
    lines = written(telemetry, capsys)
    assert len(lines) == 2
    assert {name: value for line in lines for name, value in line.items() if name in set(Metric)} == {
        "CyclesCompleted": [60.0],
        "JobsWaiting": [3.0],
        "VmsRequested": [120.0],
        "WaitSeconds": [1.5],
    }
    assert written(telemetry, capsys) == []


def test_a_peak_is_the_highest_and_a_level_the_last(
    telemetry: PowertoolsTelemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (1, 5, 2):
        telemetry.peak(Metric.JOBS_WAITING, value)
        telemetry.level(Metric.VMS, value, of=Activity.BOOTING)
    lines = written(telemetry, capsys)
    assert [line.get("JobsWaiting", line.get("Vms")) for line in lines] == [[5.0], [2.0]]


def test_what_is_zero_is_not_written(telemetry: PowertoolsTelemetry, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.count(Metric.VMS_LAUNCHED, 0)
    telemetry.peak(Metric.POOLS_UNAVAILABLE, 0)
    telemetry.level(Metric.VMS, 4, of=Activity.UNBOUND)
    telemetry.level(Metric.VMS, 0, of=Activity.UNBOUND)
    assert written(telemetry, capsys) == []


def test_the_service_is_no_dimension(
    telemetry: PowertoolsTelemetry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Powertools adds it of its own accord where this variable is set; no alarm would find the metric then."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "dispatcher")
    telemetry.count(Metric.LAUNCH_ERRORS, of=LaunchErrorClass.QUOTA)
    telemetry.count(Metric.ERRORS)
    named = [line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for line in written(telemetry, capsys)]
    assert named == [[["Deployment", "ErrorClass"]], [["Deployment"]]]


def test_a_thousand_durations_lose_none_and_stay_within_a_line_s_bound(
    telemetry: PowertoolsTelemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1_000):
        telemetry.seconds(Metric.WAIT_SECONDS, number)
        telemetry.seconds(Metric.STEP_SECONDS, number, of=Step.RESERVED)
    store = MetricStore()
    lines = written(telemetry, capsys)
    assert all(store.take(json.dumps(line), EPOCH) for line in lines)
    assert len(lines) == 20
    for dimensions_of in ({("Deployment", "stack")}, {("Deployment", "stack"), ("Step", "reserved")}):
        name = "WaitSeconds" if len(dimensions_of) == 1 else "StepSeconds"
        ((_, value),) = store.series(
            (NAMESPACE, name, frozenset(dimensions_of)),
            stat="Maximum",
            period=timedelta(minutes=1),
            start=EPOCH,
            end=EPOCH + timedelta(minutes=1),
        )
        assert value == 999


def test_every_line_carries_what_is_to_be_carried_and_errors_are_counted(
    telemetry: PowertoolsTelemetry, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.carry(version="1.2.3")
    telemetry.carry(fence=7)
    telemetry.warning("queue_clogged", queue="default")
    telemetry.error("cycle_failed", error="no", job_id=None)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["message"], line["version"], line["fence"]) for line in lines] == [
        ("queue_clogged", "1.2.3", 7),
        ("cycle_failed", "1.2.3", 7),
    ]
    assert "job_id" not in lines[1]
    assert [line["Errors"] for line in written(telemetry, capsys)] == [[1.0]]


def test_units_are_in_the_names() -> None:
    assert {metric for metric in Metric if metric.unit == "Seconds"} == {
        Metric.CYCLE_SECONDS,
        Metric.OLDEST_WAITING_SECONDS,
        Metric.WAIT_SECONDS,
        Metric.STEP_SECONDS,
        Metric.STANDBY_SAVED_SECONDS,
        Metric.STANDBY_VM_SECONDS,
        Metric.VCPU_SECONDS,
        Metric.MIRROR_AGE_SECONDS,
    }
    assert Metric.MAXIMUM_USED_PERCENT.unit == "Percent"
    assert Metric.VMS.unit == "Count"


def test_a_metric_has_one_dimension_beside_the_deployment_and_that_one_is_closed() -> None:
    assert set(SPLIT) <= set(Metric)
    assert all(len(named) <= 2 for _, named in dimensions("stack"))
