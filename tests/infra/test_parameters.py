"""The template's parameters: each is explained, bounded, and changes what is deployed."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from agent_stack import setting_kinds
from agent_stack.settings import Settings
from agent_stack_cli import parameter_rules
from agent_stack_cli.parameter_rules import specification
from agent_stack_cli.params import EFFECTS
from infra import parameters, user_data
from infra.template_yaml import loads
from tests.infra.stacks import EVERYTHING, ORGANIZATION, OWN_NETWORK, REGION, REQUIRED, deployed, template
from tests.simulator.deployment import Resolved, as_text

DECLARED: Mapping[str, Any] = template()["Parameters"]

ROLE_ARN = "arn:aws:iam::123456789012:role/jobs"
TEXTS = (
    *(
        "/ci/other",
        "other",
        "eu-central-1c",
        "other=value",
        "OTHER=value",
        "https://example.com/other",
        "http://proxy.example:3128",
        "s3://bucket/other",
    ),
    *("vpc-0fffffffffffffff0", "subnet-0fffffffffffffff0", "sg-0fffffffffffffff0", "10.99.0.0/16", "1.2.3", "f" * 64),
    *(
        "arn:aws:iam::123456789012:policy/other",
        "arn:aws:kms:eu-central-1:123456789012:key/other",
        "/other/",
        "7",
        "git",
    ),
    "git.example ssh-ed25519 AAAAC3Nz",
    *(ORGANIZATION, ROLE_ARN),
    *("222222222222", "https://mirror.example"),
    *("docker", "someone@example.com", "arn:aws:sns:eu-central-1:123456789012:other"),
)
"""One of these fits any pattern; a new kind of parameter adds its kind of text."""

TAKES_EFFECT_WITH = {
    "BakeImageArchitecture": {"BakeImage": "amazon-linux-2023"},
    "BakeImageDockerImages": {"BakeImage": "amazon-linux-2023"},
    "BakeImagePackages": {"BakeImage": "amazon-linux-2023"},
    "BakeImageVolumeGib": {"BakeImage": "amazon-linux-2023"},
    "BakeImageRepositories": {"BakeImage": "amazon-linux-2023"},
    "BuildkiteOrganizationId": {"JobAccess": "stack"},
    "EcrAccounts": {"EcrLogin": "account"},
    "BuildkiteDialect": {"AgentCredential": "agent-token"},
    "FunctionSecurityGroups": {"FunctionSubnets": "subnet-0123456789abcdef2"},
    "CacheDays": {"CreateCacheBucket": "true"},
    "Subnets": OWN_NETWORK,
    "VpcId": {"Subnets": OWN_NETWORK["Subnets"]},
}
"""What else must be set for a parameter to matter, as its description says."""


def another_value(name: str) -> str:
    """A value that the template allows and that is not the default."""
    declared = DECLARED[name]
    default = str(declared.get("Default", REQUIRED.get(name)))
    if "AllowedValues" in declared:
        return next(str(value) for value in declared["AllowedValues"] if str(value) != default)
    if declared["Type"] == "Number":
        larger = float(default) + 1
        return f"{larger if larger <= float(declared.get('MaxValue', 'inf')) else float(default) - 1:g}"
    pattern = declared.get("AllowedPattern", ".*")
    return next(text for text in TEXTS if re.fullmatch(pattern, text) and text != default)


def settings_of(stack: Resolved) -> list[Settings]:
    functions = ("DispatcherFunction", "TrackerFunction")
    environments = [stack.resources[name]["Properties"]["Environment"]["Variables"] for name in functions]
    return [Settings.from_environment({**environment, "AWS_REGION": REGION}) for environment in environments]


@pytest.mark.parametrize("name", DECLARED)
def test_every_parameter_changes_what_is_deployed(name: str) -> None:
    """A function's variable that changes, changes a setting: nothing is handed to code that does not read it."""
    others = TAKES_EFFECT_WITH.get(name, {})
    before, after = deployed(others), deployed({**others, name: another_value(name)})
    assert as_text(before.resources) != as_text(after.resources)
    for function, was, became in zip(
        ("DispatcherFunction", "TrackerFunction"), settings_of(before), settings_of(after), strict=True
    ):
        variables = [stack.resources[function]["Properties"]["Environment"] for stack in (before, after)]
        assert (variables[0] != variables[1]) == (was != became)


def replaced(before: Resolved, after: Resolved) -> set[str]:
    """Resources that go, or that CloudFormation makes anew because of what the provider says cannot be changed."""
    gone = set(before.resources) - set(after.resources)
    for name in set(before.resources) & set(after.resources):
        was, becomes = before.resources[name], after.resources[name]
        if was["Type"].startswith("Custom::"):
            continue
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, was["Type"]).schema
        fixed = {path.split("/")[2] for path in schema.get("createOnlyProperties", ())}
        if any(was["Properties"].get(part) != becomes["Properties"].get(part) for part in fixed):
            gone.add(name)
    return gone


@pytest.mark.parametrize("name", DECLARED)
def test_a_parameter_whose_change_replaces_something_says_so(name: str) -> None:
    others = TAKES_EFFECT_WITH.get(name, {})
    if replaced(deployed(others), deployed({**others, name: another_value(name)})):
        assert re.search(r"change (replaces|removes)", DECLARED[name]["Description"])
    else:
        assert name in IN_THE_NESTED_NETWORK or "change replaces" not in DECLARED[name]["Description"]


IN_THE_NESTED_NETWORK = {"NetworkCidr", "NetworkEgress", "NetworkZones"}
"""What they replace is in infra/network.yaml."""


@pytest.mark.parametrize("name", DECLARED)
def test_every_parameter_says_what_it_is_for_and_what_it_may_be(name: str) -> None:
    declared = DECLARED[name]
    assert declared.get("Description", "").endswith((".", "spot.amazonaws.com")), (
        "a sentence, for the page and the form"
    )
    if declared["Type"] == "Number":
        assert "AllowedValues" in declared or {"MinValue", "MaxValue"} <= set(declared)
    else:
        assert "AllowedValues" in declared or {"AllowedPattern", "ConstraintDescription"} <= set(declared)


@pytest.mark.parametrize("name", ["HttpProxy", "AgentEnvironment"])
def test_what_every_job_reads_says_that_it_is_not_for_secrets(name: str) -> None:
    assert "Not for secrets" in DECLARED[name]["Description"]


def test_deploy_and_the_functions_refuse_the_same_number_of_tags() -> None:
    assert parameter_rules.MAX_COST_TAGS == setting_kinds.MAX_COST_TAGS
    most = ",".join(f"k{number}=v" for number in range(setting_kinds.MAX_COST_TAGS))
    assert list(parameter_rules.problems({"CostTags": most})) == []


def test_the_form_shows_every_parameter_once_under_a_label() -> None:
    interface = loads(user_data.TEMPLATE.read_text())["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(DECLARED)
    assert set(interface["ParameterLabels"]) == set(DECLARED)
    labels = [label["default"] for label in interface["ParameterLabels"].values()]
    assert len(set(labels)) == len(labels)


def test_the_page_is_the_templates() -> None:
    page = parameters.page(user_data.TEMPLATE.read_text())
    assert page == parameters.PAGE.read_text()
    assert all(f"`{name}`" in page for name in DECLARED)


def test_only_what_nobody_can_know_is_required() -> None:
    assert {name for name, declared in DECLARED.items() if "Default" not in declared} == set(REQUIRED)
    assert deployed().refused_by() == []
    assert deployed(EVERYTHING).refused_by() == []


@pytest.mark.parametrize(
    ("parameters_", "named"),
    [
        ({"BuildkiteDialect": "preview"}, ["BuildkiteDialect", "AgentCredential"]),
        ({"ArtifactBucket": "ci-artifacts"}, ["ArtifactBucket", "JobAccess", "JobRoleArn"]),
        ({"BakeImagePackages": "make"}, ["BakeImagePackages", "BakeImage "]),
        ({"BakeImageDockerImages": "alpine"}, ["BakeImageDockerImages", "BakeImage "]),
        ({"EcrAccounts": "222222222222"}, ["EcrAccounts", "EcrLogin"]),
        ({"HoldOnFailureMinutes": "30"}, ["HoldOnFailureMinutes", "SessionManager"]),
        ({"VpcId": OWN_NETWORK["VpcId"]}, ["VpcId", "Subnets"]),
        ({"Subnets": OWN_NETWORK["Subnets"]}, ["Subnets", "VpcId"]),
        ({"FunctionSubnets": "subnet-0123456789abcdef2"}, ["FunctionSubnets", "FunctionSecurityGroups"]),
        ({"FunctionSecurityGroups": "sg-0123456789abcdef2"}, ["FunctionSecurityGroups", "FunctionSubnets"]),
        ({"JobAccess": "stack"}, ["JobAccess", "BuildkiteOrganizationId"]),
        (
            {"JobAccess": "stack", "BuildkiteOrganizationId": ORGANIZATION, "JobRoleArn": ROLE_ARN},
            ["JobAccess", "JobRoleArn"],
        ),
        ({"JobSecretsPath": "/ci/pipelines"}, ["JobSecretsPath", "JobAccess", "JobRoleArn"]),
        ({"CacheBucket": "ci-caches"}, ["CacheBucket", "JobAccess", "JobRoleArn"]),
        ({"SecretsBucket": "elastic-secrets"}, ["SecretsBucket", "JobAccess", "JobRoleArn"]),
        (
            {"InstanceRoleName": "ours", "InstanceManagedPolicies": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
            ["InstanceRoleName", "InstanceManagedPolicies"],
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_remedy(parameters_: dict[str, str], named: list[str]) -> None:
    (said,) = deployed(parameters_).refused_by()
    assert all(name in said for name in named)
    assert re.search(r"\b(Set|set|Name|Attach) ", said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ReservedConcurrency", "1"),
        ("StackKey", "my stack"),
        ("AgentEnvironment", "nonsense"),
        ("HttpProxy", "http://proxy'; rm -rf /; '"),
        ("HttpProxy", "http://user:s3cr3t@proxy.example:3128"),
        ("AllowedPlugins", "it's"),
        ("EcrAccounts", "222222222222.dkr.ecr.eu-central-1.amazonaws.com"),
        ("DockerRegistryMirrors", "mirror.example"),
        ("DockerRegistryMirrors", "https://user:s3cr3t@mirror.example"),
        ("DockerRegistryMirrors", "https://mirror.example/path"),  # which dockerd refuses at its start
        ("BakeImagePackages", "make,$(reboot)"),
        ("BakeImagePackages", "make,--nogpgcheck"),
        ("BakeImagePackages", "vim-"),  # apt would remove it
        ("BakeImageDockerImages", "alpine,-a"),
        ("BakeImageDockerImages", "user:s3cr3t@registry.example/app"),
        ("BakeImageRepositories", "http://example.com/tools.repo"),
        ("BakeImageRepositories", "https://user:s3cr3t@example.com/tools.repo"),
        ("BakeImageRepositories", "https://example.com/tools.repo?token=s3cr3t"),
        ("BakeImageRepositories", "https://example.com/apt noble main"),  # and no key
        ("BootstrapUrl", "http://example.com/x"),
        ("InstanceManagedPolicies", "ReadOnlyAccess"),
        ("BuildkiteEndpoint", "https://example.com/'; rm -rf /; '"),
        ("BuildkiteEndpoint", "https://user:s3cr3t@agent.example/v3"),  # it would take the token's place
        ("MaxInstances", "0"),
        ("CostTags", "team"),
        ("CostTags", "team=ci,aws:billing=x"),
        ("CostTags", "AWS:billing=x"),
        ("CostTags", "Aws:billing=x"),
        ("CostTags", "agent-stack:deployment=other"),
        ("CostTags", "Name=x"),
    ],
)
def test_what_a_pattern_forbids_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        deployed({name: value})


@pytest.mark.parametrize("name", sorted(user_data.SETTINGS.values()))
def test_no_value_can_break_out_of_the_user_datas_quotes(name: str) -> None:
    """The user data is a script, and each setting a single-quoted word in it."""
    declared = DECLARED.get(name)
    if declared is not None and "AllowedPattern" in declared:
        for value in ("'", "a'b", "=a'", "https://a'b", "A=b'c"):
            assert not re.fullmatch(declared["AllowedPattern"], value)


@pytest.mark.parametrize("name", DECLARED)
def test_the_operators_command_says_what_a_change_of_each_parameter_affects(name: str) -> None:
    """By what is resolved before and after: what `agent-stack params` names is what changes, and of the right kind."""
    affects = specification()[name]["Affects"]
    assert set(affects) <= set(EFFECTS)
    assert any(affects.values())
    others = TAKES_EFFECT_WITH.get(name, {})
    before, after = deployed(others), deployed({**others, name: another_value(name)})
    gone = replaced(before, after)
    named = {one.partition(".")[0] for ids in affects.values() for one in ids}
    assert gone <= named
    was, became = (stack.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"] for stack in (before, after))
    if was != became:
        assert "LaunchTemplate" in affects["new_vms"]
