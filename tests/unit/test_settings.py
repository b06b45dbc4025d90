"""The environment, read once."""

from datetime import timedelta
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter

from agent_stack.domain.errors import ConfigurationError
from agent_stack.settings import Settings
from tests.unit.values import a_policy, an_environment


def test_the_templates_defaults_are_good() -> None:
    settings = Settings.from_environment(an_environment())
    assert [queue.stack_key for queue in settings.queues] == ["stack-default"]
    assert settings.instance_arn_prefix == "arn:aws:ec2:eu-central-1:123456789012:instance/"


def test_each_decision_is_the_setting_of_its_name_and_type() -> None:
    changed = {"MAX_VCPUS": "64", "INSTANCE_BURST": "7", "UNMATCHED_JOBS": "fail", "OBSERVE_ONLY": "true"}
    changed["VOLUME_KEY_ARN"] = "arn:aws:kms:key"
    settings = Settings.from_environment(an_environment(**changed))
    policy = settings.policy
    assert (policy.max_vcpus, policy.instance_budget.burst, policy.observe_only) == (64, 7, True)
    assert settings.launch_policy.volume_key_arn == "arn:aws:kms:key"
    for decided in (policy, settings.launch_policy):
        for name, kind in get_type_hints(type(decided)).items():
            TypeAdapter(kind).validate_python(getattr(decided, name), strict=True)
    assert Settings.from_environment(an_environment(MAX_VCPUS="0")).policy.max_vcpus is None


def test_each_queue_has_a_stack_key_of_its_own() -> None:
    settings = Settings.from_environment(an_environment(QUEUES="default, linux.arm , default"))
    assert [(queue.key, queue.stack_key) for queue in settings.queues] == [
        ("default", "stack-default"),
        ("linux.arm", "stack-linux-arm"),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "parameter"),
    [
        ("BUILDKITE_TOKEN_PARAMETER", "", "AgentTokenParameter"),
        ("BUILDKITE_ENDPOINT", "agent.buildkite.com", "BuildkiteEndpoint"),
        ("BUILDKITE_ENDPOINT", "https://proxy:s3cr3t@agent.example/v3", "BuildkiteEndpoint"),
        ("QUEUES", " , ", "Queues"),
        ("QUEUES", "a b", "Queues"),
        ("STACK_KEY", "my stack", "StackKey"),
        ("SUBNET_IDS", "", "Subnets"),
        ("MAX_INSTANCES", "0", "MaxInstances"),
        ("MAX_INSTANCES", "many", "MaxInstances"),
        ("RESERVATION_SECONDS", "3601", "ReservationSeconds"),
        ("RESERVATION_SECONDS", "soon", "ReservationSeconds"),
        ("UNMATCHED_JOBS", "drop", "UnmatchedJobs"),
        ("AGENT_TAGS", "docker", "AgentTags"),
        ("LAUNCH_ENABLED", "perhaps", "LaunchEnabled"),
        ("BUILDKITE_DIALECT", "klingon", "BuildkiteDialect"),
        ("SPOT_MAX_PRICE", "cheap", "SpotMaxPrice"),
        ("COST_TAGS", "team", "CostTags"),
        ("COST_TAGS", "team=ci,aws:x=y", "CostTags"),
        ("COST_TAGS", "AWS:x=y", "CostTags"),
        ("COST_TAGS", "team=ci,Aws:x=y", "CostTags"),
        ("COST_TAGS", "agent-stack:deployment=other", "CostTags"),
        ("COST_TAGS", "Name=x", "CostTags"),
        ("COST_TAGS", "team=ci,team=web", "CostTags"),
        ("SPOT_MAX_PRICE", "0.001", "SpotMaxPrice"),
        ("SPOT_MAX_PRICE", "inf", "SpotMaxPrice"),
        ("SPOT_MAX_PRICE", "-1", "SpotMaxPrice"),
        ("IDLE_POLL_SECONDS", "1e400", "IdlePollSeconds"),
        ("MAX_LIFETIME_SECONDS", "9" * 30, "MaxLifetimeSeconds"),
        ("HOLD_ON_FAILURE_MINUTES", "nan", "HoldOnFailureMinutes"),
        ("QUEUES", "a.b,a-b", "Queues"),
        ("QUEUES", "_default,other,__default__", "Queues"),
    ],
)
def test_a_wrong_setting_is_named_as_the_template_names_it(variable: str, value: str, parameter: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment(an_environment(**{variable: value}))
    assert raised.value.setting == parameter
    assert repr(value) in str(raised.value)
    assert "deploy it again" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"STACK_KEY": "s" * 60, "QUEUES": "q" * 30},
            "StackKey, Queues=.*longer than 80 bytes: .*shorten StackKey",
        ),
        ({"QUEUES": "a.b,x,a-b"}, "Queues='a.b,x,a-b': the stack keys of these queues are the same: a.b, a-b;"),
        (
            {"SWEEP_GRACE_SECONDS": "100", "UNASSIGNED_TIMEOUT_SECONDS": "300"},
            "SweepGraceSeconds, UnassignedTimeoutSeconds='100, 300': SweepGraceSeconds is so short",
        ),
        (
            {"BUILDKITE_DIALECT": "preview", "AGENT_CREDENTIAL": "job-token"},
            "BuildkiteDialect, AgentCredential='preview, job-token': .*; set AgentCredential to agent-token",
        ),
        (
            {
                "BUILDKITE_TOKEN_PARAMETER": "arn:aws:ssm:eu-central-1:999999999999:parameter/token",
                "AGENT_CREDENTIAL": "agent-token",
            },
            "set AgentCredential to job-token, or put the token into a parameter of this account",
        ),
        ({"SPOT_MAX_PRICE": "0.0005"}, "SpotMaxPrice='0.0005': EC2 accepts a spot price above 0.001 USD"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Settings.from_environment(an_environment(**changes))


@pytest.mark.parametrize(
    ("partition", "region", "start"),
    [
        ("aws", "eu-central-1", "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#"),
        ("aws-cn", "cn-north-1", "https://cn-north-1.console.amazonaws.cn/cloudwatch/home?region=cn-north-1#"),
        (
            "aws-us-gov",
            "us-gov-west-1",
            "https://us-gov-west-1.console.amazonaws-us-gov.com/cloudwatch/home?region=us-gov-west-1#",
        ),
    ],
)
def test_a_vms_log_is_linked_to_in_the_console_of_its_partition(partition: str, region: str, start: str) -> None:
    changed = {"PARTITION": partition, "AWS_REGION": region, "VM_LOG_GROUP": "/agent-stack/stack/vms"}
    url = Settings.from_environment(an_environment(**changed)).policy.vm_log_url
    assert url == f"{start}logsV2:log-groups/log-group/$252Fagent-stack$252Fstack$252Fvms/log-events/"


@pytest.mark.parametrize("changed", [{"VM_LOG_GROUP": ""}, {"VM_LOG_GROUP": "/x", "PARTITION": "aws-iso"}])
def test_without_logs_or_a_known_console_there_is_no_link(changed: dict[str, str]) -> None:
    assert Settings.from_environment(an_environment(**changed)).policy.vm_log_url == ""


def test_more_tags_than_ec2_has_room_for_are_refused_with_their_number() -> None:
    tags = ",".join(f"k{number}=v" for number in range(41))
    with pytest.raises(ConfigurationError, match="there are 41 tags; EC2 leaves room for 40"):
        Settings.from_environment(an_environment(COST_TAGS=tags))


@pytest.mark.parametrize(("unassigned", "bindable"), [(2, 1), (60, 30), (120, 60), (300, 240), (900, 840)])
def test_a_vm_is_bound_a_minute_before_it_would_leave_or_in_the_first_half_of_its_time(
    unassigned: int, bindable: int
) -> None:
    assert a_policy(unassigned_timeout=timedelta(seconds=unassigned)).bindable_age == timedelta(seconds=bindable)
