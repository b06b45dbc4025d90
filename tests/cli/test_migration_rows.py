"""Every parameter of the Elastic CI Stack has a row, and whatever its value is, what comes out can be deployed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_stack.adapters.ssm.class_document import ClassDocument, ClassEntry
from agent_stack_cli.migration.plan import OF_SPOT, Migration, migrate
from agent_stack_cli.migration.rows import Fate, Parity
from agent_stack_cli.migration.source import Source
from agent_stack_cli.migration.table import DEFAULTS, GROUPS, ROWS, values
from agent_stack_cli.parameter_rules import problems
from infra.parity import page
from tests.infra.stacks import deployed, template

pytestmark = pytest.mark.share(10)

THEIRS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "elastic_ci_stack_template.json").read_text()
)
"""Names, types, defaults and allowed values of that stack's template, as its repository has them."""

OURS = set(template()["Parameters"])
RULES = str(template()["Rules"])
"""What names the parameters that the template's rules judge together; the others need no deployment each."""
FIELDS = set(ClassEntry.model_fields)

TEXTS = (
    *("", "true", "false", "0", "1", "7", "90", "4000", "-5", "x y", "ünï, çode", "a=b,c", "none", "off", "{queue}"),
    *("/some/name", "https://example.com/x", "s3://bucket/key", "file:///tmp/x", "ssm:/a", "PT1H", "PT5M", "P"),
    *("vpc-0123456789abcdef0", "subnet-0123456789abcdef0,subnet-0123456789abcdef1", "ami-0123456789abcdef0"),
    *("arn:aws:iam::123456789012:role/ci/name", "arn:aws:iam::123456789012:policy/name", "m7g.large,m7i.large"),
    *("arn:aws:ssm:eu-central-1:123456789012:parameter/ci/token", "a,B=c", "two\nlines", "Name=x", "10.0.0.0/8"),
    *("nan", "inf", "-inf", "1e400", "PT" + "9" * 5000 + "H"),
)
"""What people write, and what they write in the wrong place."""


def texts_of(name: str) -> tuple[str, ...]:
    """What may be written there, or in its place. A file is not held to a template's allowed values."""
    allowed = THEIRS[name].get("AllowedValues")
    return (*allowed, "off", "") if allowed else TEXTS


def of(**given: str) -> Migration:
    return migrate(Source(given={"BuildkiteQueue": "linux", **given}))


def can_be_deployed(found: Migration) -> None:
    """What scripts/deploy, the template's rules and the reader of class documents say: nothing."""
    assert not list(problems(found.parameters, complete=True))
    judged = {name: value for name, value in found.parameters.items() if f"'{name}'" in RULES}
    assert not deployed(judged).refused_by()
    ClassDocument.model_validate_json(json.dumps(found.document))


def test_all_parameters_of_that_stack_have_a_row_with_its_default() -> None:
    assert len(ROWS) == sum(map(len, GROUPS.values())) == len(THEIRS) == 126
    assert {name: declared["Default"] for name, declared in THEIRS.items()} == DEFAULTS
    assert {name for name, row in ROWS.items() if row.secret} == {n for n, d in THEIRS.items() if d.get("NoEcho")}


def test_the_page_has_all_rows() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert [re.match(r"\| `(\w+)` \| (.*?) \| .{5,}\.", line) is not None for line in rows] == [True] * 126
    assert {row.parity for row in ROWS.values()} == set(Parity)


@pytest.mark.parametrize("name", ROWS)
def test_whatever_a_value_is_the_rest_can_be_deployed_and_nothing_is_lost(name: str) -> None:
    for text in texts_of(name):
        found = of(**{name: text})
        can_be_deployed(found)
        items = {item.name: item for item in found.items}
        if text.strip() != THEIRS[name]["Default"] and items.get(name) is None:
            assert _same(text, THEIRS[name]["Default"]), text
        for item in found.items:
            written = item.outcome.parameters or item.outcome.fields or item.outcome.environment
            assert written or item.outcome.words, (item.name, text)
            assert item.outcome.do or item.outcome.fate is not Fate.NOT_POSSIBLE, (item.name, text)
            assert not (written and item.outcome.fate in {Fate.NOT_NEEDED, Fate.NOT_POSSIBLE})


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.replace(" ", "") == other.replace(" ", "")


def test_what_is_not_here_says_why() -> None:
    unexplained = {name for name, row in ROWS.items() if row.parity is Parity.NOT and " because " not in row.here}
    assert unexplained == set()


def test_each_recipe_that_a_row_names_is_there() -> None:
    named = {place for row in ROWS.values() for place in re.findall(r"docs/examples/[a-z/-]+\.sh", row.here)}
    assert named
    assert {place for place in named if not (Path(__file__).parents[2] / place).is_file()} == set()


def words_of_the_rows() -> Iterator[tuple[str, str]]:
    for name, row in ROWS.items():
        yield name, row.here
        for text in texts_of(name):
            outcome = row.rule(values({name: text}))
            yield name, f"{outcome.words} {outcome.do}"


NO_PARAMETERS = {"BuildImage", "MapPublicIpOnLaunch", "CloudWatch", "CloudFormation", "DynamoDB", "SecureString",
                 "SecureStrings", "BatchImportUpstreamImage", "CreateRepository", "PutRolePolicy", "GetPublicKey",
                 "InstanceRole", "MiB", "KeyMetadata", "VmVpc",
                 "CreateFleet"}  # fmt: skip
"""Words with a capital inside that are AWS's, or an output of ours."""


def test_every_name_in_the_rows_is_a_parameter_or_a_field_that_there_is() -> None:
    for row, text in words_of_the_rows():
        for word in re.findall(r"\b[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)+\b", text):
            assert word in OURS | set(ROWS) | NO_PARAMETERS, (row, word)
        for word in re.findall(r"`([a-z_]+)`", text):
            assert word in FIELDS, (row, word)


def test_names_of_ours_in_the_rows_are_not_those_of_that_stack_by_chance() -> None:
    """A name that both templates have means something else in each; only these are meant to be the same."""
    assert OURS & set(ROWS) == {
        *("VpcId", "Subnets", "LogRetentionDays", "InstanceRoleName"),
        *("GitMirrorSeedBucket", "SecretsBucket"),
    }


A_VPC = {"VpcId": "vpc-0123456789abcdef0", "Subnets": "subnet-0123456789abcdef0"}
SHARED = "arn:aws:ssm:eu-central-1:999999999999:parameter/shared"
A_KEY = "arn:aws:kms:eu-central-1:999999999999:key/7654-3210"
SCHEDULED = {"EnableScheduledScaling": "true"}
WINDOW = {"days": "mon-fri", "from": "08:00", "to": "18:00", "timezone": "UTC"}


def weekdays(*, hot: int, inside: int, timezone: str = "UTC") -> dict[str, Any]:
    """The schedule that is that stack's default."""
    return {"hot": hot, "schedule": [{**WINDOW, "timezone": timezone, "hot": inside}]}


@pytest.mark.parametrize(
    ("given", "parameters", "fields"),
    [
        ({"MaxSize": "40", "AgentsPerInstance": "3"}, {"MaxInstances": "120"}, {}),
        ({"MaxSize": "0"}, {"LaunchEnabled": "false", "MaxInstances": None}, {}),
        ({"OnDemandPercentage": "100"}, {}, {"market": "on-demand", "fallback_to_on_demand": None}),
        ({"OnDemandPercentage": "0"}, {}, {"market": "spot", "fallback_to_on_demand": None}),
        ({"OnDemandPercentage": "30"}, {}, {"market": "spot", "fallback_to_on_demand": True, "on_demand_percent": 30}),
        ({"OnDemandPercentage": "0", "OnDemandBaseCapacity": "3"}, {}, {"market": "spot", "on_demand_base": 3}),
        ({"OnDemandBaseCapacity": "3"}, {}, {"market": "on-demand", "on_demand_base": None}),
        ({"RootVolumeSize": "80"}, {}, {"volume_gib": 80, "volume_type": None, "volume_iops": None}),
        ({"RootVolumeIops": "6000"}, {}, {"volume_gib": 250, "volume_iops": 6000, "volume_throughput_mibs": None}),
        ({"RootVolumeThroughput": "500"}, {}, {"volume_throughput_mibs": 500}),
        ({"RootVolumeType": "gp2", "RootVolumeIops": "6000"}, {}, {"volume_type": "gp2", "volume_iops": None}),
        ({"RootVolumeType": "io2"}, {}, {"volume_type": "io2", "volume_iops": 3000}),
        ({"RootVolumeType": "io1", "RootVolumeSize": "3"}, {}, {"volume_type": None, "volume_gib": None}),
        ({"RootVolumeType": "st1"}, {}, {"volume_type": None, "volume_gib": None}),
        ({}, {"AgentTokenParameter": "/buildkite/agent-token"}, {"volume_gib": 250, "instance_types": ["t3.large"]}),
        ({"InstanceTypes": "m7g.large,m7i.large"}, {}, {"instance_types": ["m7g.large"]}),
        ({"ImageId": "ami-0123456789abcdef0"}, {"Packages": None}, {"image": "ami-0123456789abcdef0"}),
        ({"ImageIdParameter": "acme/ami"}, {"ImageParameters": "/acme/ami"}, {"image": "resolve:ssm:/acme/ami"}),
        (
            {"ImageIdParameter": "/agent-stack/images/ami"},
            {"ImageParameters": None},
            {"image": "resolve:ssm:/agent-stack/images/ami"},
        ),
        ({"AvailabilityZones": "eu-central-1a, eu-central-1b"}, {"NetworkZones": "eu-central-1a,eu-central-1b"}, {}),
        ({**A_VPC, "SecurityGroupIds": "sg-01234567,sg-89abcdef"}, {"VmSecurityGroups": "sg-01234567,sg-89abcdef"}, {}),
        ({"SecurityGroupIds": "sg-01234567"}, {"VmSecurityGroups": None}, {}),
        ({"EnableVpcEndpoints": "true"}, {"InterfaceEndpoints": "true"}, {}),
        ({"EnableDetailedMonitoring": "true"}, {"DetailedMonitoring": "true"}, {}),
        (
            {"ScalerManagedPolicyARNs": "arn:aws:iam::aws:policy/A"},
            {"FunctionManagedPolicies": "arn:aws:iam::aws:policy/A"},
            {},
        ),
        (
            {
                "BuildkiteAgentTokenParameterStorePath": f"{SHARED}/token",
                "BuildkiteAgentTokenParameterStoreKMSKey": A_KEY,
            },
            {"AgentTokenParameter": f"{SHARED}/token", "AgentTokenKeyArn": A_KEY},
            {},
        ),
        ({"InstanceCreationTimeout": "PT15M"}, {"ReservationSeconds": "1260"}, {"boot_timeout_seconds": 900}),
        ({"InstanceCreationTimeout": "PT9M"}, {"ReservationSeconds": None}, {"boot_timeout_seconds": 540}),
        ({"BuildkiteAgentCancelGracePeriod": "30"}, {"JobGraceSeconds": "30"}, {}),
        ({"BuildkiteAgentCancelGracePeriod": "300"}, {"JobGraceSeconds": "80"}, {}),
        (
            {"BuildkiteAgentCancelGracePeriod": "70", "BuildkiteAgentSignalGracePeriod": "20"},
            {"JobGraceSeconds": "20"},
            {},
        ),
        ({"LogRetentionDays": "14"}, {"LogRetentionDays": "14"}, {}),
        (
            {"LogRetentionDays": "14", "EnableEC2LogRetentionPolicy": "true", "EC2LogRetentionDays": "90"},
            {"LogRetentionDays": "90"},
            {},
        ),
        ({"ArtifactsBucket": "acme"}, {"ArtifactBucket": "acme", "JobMetadata": "allowed"}, {}),
        ({"ManagedPolicyARNs": "arn:aws:iam::aws:policy/A"}, {"JobMetadata": None}, {}),
        ({"AssociatePublicIpAddress": "false"}, {"NetworkEgress": "nat"}, {}),
        ({"ECRAccessPolicy": "readonly"}, {"EcrLogin": "account", "InstanceManagedPolicies": None}, {}),
        ({"InstanceRoleARN": "arn:aws:iam::123456789012:role/ci/vm"}, {"InstanceRoleName": "vm"}, {}),
        ({"InstanceRoleName": "vm"}, {"InstanceRoleName": None}, {}),
        (
            {"EnableCostAllocationTags": "true", "InstanceRoleTags": "team=a,CreatedBy=b"},
            {"CostTags": "team=a,CreatedBy=buildkite-elastic-ci-stack-for-aws"},
            {},
        ),
        ({"BuildkiteAgentTags": "size=l,queue=x,gpu"}, {"AgentTags": "size=l"}, {}),
        ({"VpcId": "vpc-0123456789abcdef0", "Subnets": "subnet-x"}, {"VpcId": None, "Subnets": None}, {}),
        ({"VpcId": "vpc-1", "Subnets": "subnet-0123456789abcdef0"}, {"VpcId": None, "Subnets": None}, {}),
        ({"MinSize": "3"}, {}, {"standby": {"hot": 3}}),
        ({"MinSize": "3", "InstanceBuffer": "5"}, {}, {"standby": {"hot": 5}}),
        ({**SCHEDULED, "MinSize": "9"}, {}, {"standby": weekdays(hot=0, inside=1)}),
        (
            {
                "EnableScheduledScaling": "true",
                "ScaleUpMinSize": "8",
                "InstanceBuffer": "2",
                "ScheduleTimezone": "Asia/Tokyo",
            },
            {},
            {"standby": weekdays(hot=2, inside=8, timezone="Asia/Tokyo")},
        ),
        ({**SCHEDULED, "ScaleUpSchedule": "*/5 * * * *"}, {}, {"standby": None}),
        ({**SCHEDULED, "ScaleUpSchedule": "0 8 * * 1"}, {}, {"standby": None}),
        ({**SCHEDULED, "ScheduleTimezone": "Mars/North"}, {}, {"standby": None}),
        ({"MinSize": "5000"}, {}, {"standby": None}),
        (
            {
                "EnableScheduledScaling": "true",
                "ScaleUpSchedule": "5 7 * * 1-5",
                "ScaleDownSchedule": "0 18 * * mon-fri",
            },
            {},
            {"standby": {**weekdays(hot=0, inside=1), "schedule": [{**WINDOW, "from": "07:05", "hot": 1}]}},
        ),
        ({"BuildkiteAgentTracingBackend": "datadog"}, {"AgentTracing": None}, {}),
        (
            {"SpotAllocationStrategy": "lowest-price", "OnDemandPercentage": "0"},
            {},
            {"market": "spot", "spot_allocation_strategy": "lowest-price"},
        ),
        ({"SpotAllocationStrategy": "lowest-price"}, {}, {"spot_allocation_strategy": None}),
    ],
)
def test_values_become(given: dict[str, str], parameters: dict[str, str | None], fields: dict[str, Any]) -> None:
    found = of(**given)
    assert {name: found.parameters.get(name) for name in parameters} == parameters
    assert {name: found.document["classes"]["default"].get(name) for name in fields} == fields
    can_be_deployed(found)


def test_a_stack_without_vms_has_to_be_switched_on() -> None:
    (item,) = [item for item in of(MaxSize="0").items if item.name == "MaxSize"]
    assert "LaunchEnabled=true" in item.outcome.do


TAGS = ",".join(f"k{number}=v" for number in range(40))


@pytest.mark.parametrize(
    ("given", "parameter", "kept", "culprit"),
    [
        (
            {"InstanceRoleTags": TAGS, "EnableCostAllocationTags": "true"},
            "CostTags", "CreatedBy=buildkite-elastic-ci-stack-for-aws", "InstanceRoleTags",
        ),
        (
            {"ArtifactsBucketRegion": "eu-west-1", "ArtifactsS3ACL": "x" * 1960},
            "AgentEnvironment", "BUILDKITE_S3_DEFAULT_REGION=eu-west-1", "ArtifactsS3ACL",
        ),
    ],
)  # fmt: skip
def test_what_fits_alone_and_not_together_is_left_out(
    given: dict[str, str], parameter: str, kept: str, culprit: str
) -> None:
    """41 tags, and 2,001 characters or more."""
    found = of(**given)
    can_be_deployed(found)
    assert found.parameters[parameter] == kept
    (item,) = [item for item in found.items if item.name == culprit]
    assert item.outcome.fate is Fate.NOT_POSSIBLE
    assert parameter in item.outcome.do
    can_be_deployed(of(**{name: value for name, value in given.items() if name == culprit}))


def test_with_a_percentage_there_is_a_class_that_is_not_interrupted() -> None:
    classes = of(OnDemandPercentage="30").document["classes"]
    assert classes["on-demand"] == {
        **{name: value for name, value in classes["default"].items() if name not in OF_SPOT},
        "market": "on-demand",
    }


@pytest.mark.parametrize(
    ("distribution", "types", "image"),
    [
        ("amazonlinux2023", "t3.large", "al2023-ami-kernel-default-x86_64"),
        ("amazonlinux2023", "t4g.large", "al2023-ami-kernel-default-arm64"),
        ("ubuntu2404", "g4dn.xlarge", "24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
        ("ubuntu2404", "im4gn.xlarge", "24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"),
        ("ubuntu2404", "a1.large", "24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"),
        ("ubuntu2404", "gr6.4xlarge", "24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
        ("ubuntu2404", "x2gd.large", "24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"),
    ],
)
def test_the_image_is_for_the_machine(distribution: str, types: str, image: str) -> None:
    found = of(LinuxDistribution=distribution, InstanceTypes=types)
    assert found.document["classes"]["default"]["image"].endswith(image)


def test_windows_is_said_to_be_impossible() -> None:
    (item,) = [item for item in of(InstanceOperatingSystem="windows").items if item.name == "InstanceOperatingSystem"]
    assert item.outcome.fate is Fate.NOT_POSSIBLE


def test_dockers_networks_become_one_file_that_is_said_once() -> None:
    found = of(DockerIPv4AddressPool1="10.0.0.0/16", DockerNetworkingProtocol="dualstack")
    (do,) = {item.outcome.do for item in found.of(Fate.NOT_POSSIBLE) if item.name.startswith("Docker")}
    assert json.loads(do[do.index("{") :]) == {
        "ipv6": True,
        "ip6tables": True,
        "fixed-cidr-v6": "2001:db8:1::/64",
        "default-address-pools": [
            {"base": "10.0.0.0/16", "size": 20},
            {"base": "192.168.0.0/16", "size": 24},
            {"base": "2001:db8:2::/104", "size": 112},
        ],
    }
