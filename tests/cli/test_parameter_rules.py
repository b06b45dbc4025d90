"""What scripts/deploy, doctor --parameters and migrate say of a value before anything is deployed."""

import pytest

from agent_stack_cli.parameter_rules import problems, specification


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LogRetentionDays", "10", "it may be 1, 3, 5, 7, 14, 30"),
        ("LogRetentionDays", "30.0", "it may be 1, 3, 5, 7, 14, 30"),
        ("MaxInstances", "2.5", "a whole number from 1 to 100000"),
        ("MaxInstances", "2.0", "a whole number from 1 to 100000"),
        ("MaxInstances", "nan", "a whole number"),
        ("MaxInstances", "inf", "a whole number"),
        ("MaxInstances", "1_0", "a whole number"),
        ("MaxInstances", "1e1", "a whole number"),
        ("MaxInstances", " 10", "a whole number"),
        ("MaxInstances", "٣", "a whole number"),
        ("MaxInstances", "", "a whole number"),
        ("MaxInstances", "0", "the nearest is 1"),
        ("InstancesPerSecond", "nan", "a number from 0.1 to 10000"),
        ("InstancesPerSecond", "1_0", "a number from 0.1 to 10000"),
        ("IdlePollSeconds", "-1", "the nearest is 0.2"),
    ],
)
def test_a_number_that_the_deployment_would_refuse_is_refused_before_it(name: str, value: str, words: str) -> None:
    (said,) = problems({name: value})
    assert said.startswith(f"{name}={value!r}: ")
    assert words in said


@pytest.mark.parametrize(
    ("name", "value"),
    [("LogRetentionDays", "14"), ("MaxInstances", "100000"), ("InstancesPerSecond", "2.5"), ("VcpuHourUsd", "0.0604"),
     ("DailySpendAlarmUsd", "49.50")],
)  # fmt: skip
def test_a_number_that_the_deployment_takes_is_taken(name: str, value: str) -> None:
    assert not list(problems({name: value}))


def test_every_default_is_taken() -> None:
    defaults = {name: str(known["Default"]) for name, known in specification().items() if "Default" in known}
    assert not list(problems(defaults))
