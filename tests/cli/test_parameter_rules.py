"""What scripts/deploy, doctor --parameters and migrate say of a value before anything is deployed."""

import pytest

from agent_stack.domain.classes import DEFAULT_QUEUE_ALIASES
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.stack_keys import MAX_STACK_KEY_BYTES
from agent_stack.settings import Settings
from agent_stack_cli import parameter_rules
from agent_stack_cli.parameter_rules import problems, specification
from tests.unit.values import an_environment


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


VARIABLES = {
    "AgentCredential": "AGENT_CREDENTIAL",
    "AgentTokenParameter": "BUILDKITE_TOKEN_PARAMETER",
    "CostTags": "COST_TAGS",
    "Queues": "QUEUES",
    "SpotMaxPrice": "SPOT_MAX_PRICE",
    "StackKey": "STACK_KEY",
    "SweepGraceSeconds": "SWEEP_GRACE_SECONDS",
    "UnassignedTimeoutSeconds": "UNASSIGNED_TIMEOUT_SECONDS",
}
ARN = "arn:aws:ssm:eu-central-1:999999999999:parameter/token"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"SpotMaxPrice": "0"}, "a price above 0.001"),
        ({"SpotMaxPrice": "0000"}, "a price above 0.001"),
        ({"SpotMaxPrice": "0.001"}, "a price above 0.001"),
        ({"SpotMaxPrice": "00.001000"}, "a price above 0.001"),
        ({"SpotMaxPrice": "0.000999"}, "a price above 0.001"),
        ({"SpotMaxPrice": "0.001001"}, ""),
        ({"SpotMaxPrice": "0.01"}, ""),
        ({"SpotMaxPrice": "10"}, ""),
        ({"SpotMaxPrice": ""}, ""),
        ({"StackKey": "ci\n"}, "letters, digits, underscores and dashes"),
        ({"CostTags": ","}, ""),
        ({"CostTags": "a=b,,a=c"}, "these keys are given twice: a;"),
        ({"Queues": "a,a"}, ""),
        ({"Queues": "a.b,x,a-b"}, "the stack keys of a.b, a-b would be the same"),
        ({"Queues": "_default,x,__default__"}, "_default and __default__ are one queue"),
        ({"StackKey": "s" * 60, "Queues": "x," + "q" * 20}, "shorten it"),
        ({"StackKey": "s" * 60, "Queues": "x," + "q" * 19}, ""),
        ({"SweepGraceSeconds": "239", "UnassignedTimeoutSeconds": "300"}, "set SweepGraceSeconds to 240 or more"),
        ({"SweepGraceSeconds": "240", "UnassignedTimeoutSeconds": "300"}, ""),
        ({"AgentTokenParameter": ARN, "AgentCredential": "agent-token"}, "set AgentCredential to job-token"),
        ({"AgentTokenParameter": ARN, "AgentCredential": "job-token"}, ""),
    ],
)
def test_what_the_functions_would_refuse_is_refused_before_anything_is_deployed(
    given: dict[str, str], words: str
) -> None:
    """The functions start in the middle of a deployment, which they would end there."""
    said = list(problems(given))
    assert [words in one for one in said] == ([True] if words else [])
    try:
        Settings.from_environment(an_environment(**{VARIABLES[name]: value for name, value in given.items()}))
    except ConfigurationError:
        assert words
    else:
        assert not words


def test_a_new_stack_is_judged_with_its_defaults() -> None:
    given = {"AgentTokenParameter": "/token", "StackKey": "ci", "UnassignedTimeoutSeconds": "3600"}
    assert list(problems(given)) == []  # a stack that is there may have another SweepGraceSeconds
    (said,) = problems(given, complete=True)
    assert said.startswith("SweepGraceSeconds=300, UnassignedTimeoutSeconds=3600: ")


def test_the_rules_know_what_the_functions_know() -> None:
    assert set(parameter_rules.DEFAULT_QUEUES) == DEFAULT_QUEUE_ALIASES
    assert parameter_rules.MAX_STACK_KEY == MAX_STACK_KEY_BYTES


APT, REPO = "https://example.com/apt noble main https://example.com/key.asc", "https://example.com/tools.repo"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"BakeImage": "amazon-linux-2023", "BakeImageRepositories": f"{REPO}, {APT}"},
            f"{APT!r}, a repository of apt's",
        ),
        (
            {"BakeImage": "ubuntu-server-24-lts", "BakeImageRepositories": f"{REPO},{APT}"},
            f"{REPO!r}, the URL of a .repo",
        ),
        ({"BakeImageRepositories": f"{REPO},{APT}"}, "leave out those of apt's for amazon-linux-2023"),
        ({"BakeImage": "amazon-linux-2023", "BakeImageRepositories": f"{REPO},{REPO}"}, ""),
        ({"BakeImage": "ubuntu-server-24-lts", "BakeImageRepositories": APT}, ""),
        ({"BakeImageRepositories": APT}, ""),  # of a stack that is there the system is not known
        ({"BakeImage": "ubuntu-server-24-lts", "BakeImageRepositories": ""}, ""),
    ],
)
def test_a_repository_of_another_system_is_refused_before_anything_is_deployed(
    given: dict[str, str], words: str
) -> None:
    said = list(problems(given))
    assert [words in one for one in said] == ([True] if words else [])


def test_the_systems_are_the_templates() -> None:
    assert specification()["BakeImage"]["AllowedValues"] == [
        "none",
        parameter_rules.AMAZON_LINUX,
        parameter_rules.UBUNTU,
    ]
