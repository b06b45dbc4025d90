"""One part that AWS does not show never hides the others."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CLASSES
from tests.cli.served import Served
from tests.simulator.cloud.images import Image

pytestmark = pytest.mark.share(4)

IMAGE, OTHER = "ami-0123456789abcdef0", "ami-0fedcba9876543210"


def findings(served: Served, *words: str) -> list[dict[str, str]]:
    result = served.run("doctor", "--json", *words)
    assert result.exit_code in {0, 1}, result.output
    read: list[dict[str, str]] = json.loads(result.stdout)
    return read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A class document in which only `large` takes its image from a parameter."""
    document = json.loads(CLASSES)
    document["classes"]["large"]["image"] = "resolve:ssm:/images/ci"
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(document))
    return path


def test_status_shows_the_rest_when_logs_may_not_be_read(served: Served) -> None:
    run = served.recorded(1)
    served.front.denied.add("logs:FilterLogEvents")
    seen = served.data("status")
    assert [job["job_id"] for job in seen["jobs"]] == [run.job_id]
    assert any(text.startswith("errors: FilterLogEvents: AccessDenied") for text in seen["unreadable"])
    assert seen["errors"] is None
    assert "Not shown: errors: FilterLogEvents" in served.ok("status")


def test_status_shows_the_rest_when_ec2_does_not_answer(served: Served) -> None:
    run = served.recorded(1)
    served.world.ec2.faults.fail("DescribeInstances", "UnauthorizedOperation", times=10)
    seen = served.data("status")
    assert [job["job_id"] for job in seen["jobs"]] == [run.job_id]
    assert any(text.startswith("VMs: DescribeInstances: UnauthorizedOperation") for text in seen["unreadable"])


def test_status_does_not_take_vms_that_ec2_does_not_show_for_none(served: Served) -> None:
    served.launched()
    served.world.ec2.faults.fail("DescribeInstances", "UnauthorizedOperation", times=10)
    seen = served.data("status")
    assert (seen["vms"], seen["held"]) == (None, None)
    assert {b["bound"]: b["taken"] for b in seen["budgets"]}["VMs (MaxInstances)"] is None
    said = served.ok("status").splitlines()
    assert not {"VMs", "none"} & set(said)
    assert [line.split()[-2:] for line in said if line.startswith("VMs (MaxInstances)")] == [["unknown", "100"]]


@pytest.mark.parametrize(
    ("action", "check"),
    [
        ("lambda:InvokeFunction", "dispatcher"),
        ("logs:FilterLogEvents", "logs"),
        ("cloudwatch:DescribeAlarms", "alarms"),
        ("servicequotas:GetServiceQuota", "quota on-demand:standard"),
    ],
)
def test_doctor_goes_on_where_it_may_not_look(served: Served, action: str, check: str) -> None:
    served.front.denied.add(action)
    found = findings(served)
    (blind,) = [f for f in found if f["problem"].startswith("not examined")]
    assert (blind["check"], blind["severity"]) == (check, "warning")
    assert action.partition(":")[2].removesuffix("Function") in blind["problem"]
    assert blind["remedy"].endswith("then: agent-stack doctor --stack demo")
    assert "The tracker never ran." in {f["problem"] for f in found}


def test_doctor_goes_on_where_ec2_does_not_describe_types(served: Served) -> None:
    served.front.denied.add("lambda:InvokeFunction")  # the function has rights of its own
    served.world.ec2.faults.fail("DescribeInstanceTypes", "UnauthorizedOperation", times=100)
    found = findings(served)
    blind = {f["check"]: f for f in found if "DescribeInstanceTypes" in f["problem"]}
    assert "quotas" in blind
    assert {f["severity"] for f in blind.values()} == {"warning"}
    assert all(f["problem"].startswith("not examined: ") for f in blind.values())
    assert blind["quotas"]["remedy"].endswith("then: agent-stack doctor --stack demo")
    assert "The tracker never ran." in {f["problem"] for f in found}


def test_doctor_of_a_file_goes_on_where_it_may_not_look(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "ci.parameters"
    path.write_text("AgentTokenParameter=/nowhere\nStackKey=a b\nSubnets=subnet-0123456789abcdef0\n")
    served.front.denied.add("ssm:DescribeParameters")
    problems = " ".join(f["problem"] for f in findings(served, "--parameters", str(path)))
    for words in ("not examined: DescribeParameters", "StackKey='a b'", "subnet-0123456789abcdef0 is not in"):
        assert words in problems


def test_an_image_that_one_class_may_not_read_hides_no_other_class(served: Served, file: Path) -> None:
    document = json.loads(file.read_text())
    document["classes"]["default"]["instance_types"] = ["m7i.lorge"]
    file.write_text(json.dumps(document))
    result = served.run("classes", "validate", str(file), "--json")
    found = {f["vm_class"]: f["problem"] for f in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert "m7i.lorge" in found["default"]
    assert "your role may not read it" in found["large"]


def test_types_that_ec2_does_not_describe_hide_no_other_class(served: Served, tmp_path: Path) -> None:
    served.world.ec2.images.known[IMAGE] = Image(architecture="arm64")
    served.world.ec2.faults.fail("DescribeInstanceTypes", "UnauthorizedOperation", times=1)
    result = served.run("classes", "validate", "--json")
    found = {f["vm_class"]: (f["severity"], f["problem"]) for f in json.loads(result.stdout)}
    del served.world.ec2.images.known[IMAGE]
    assert found["default"][0] == "warning"
    assert "not examined: DescribeInstanceTypes" in found["default"][1]
    assert "m7i.4xlarge is x86_64, and the image is arm64" in found["large"][1]


def test_a_class_with_a_smaller_volume_than_its_image_is_an_error_before_a_launch(
    served: Served, tmp_path: Path
) -> None:
    served.world.ec2.images.known[IMAGE] = Image(root_gib=30)
    document = json.loads(CLASSES)
    for name, gib in (("default", 20), ("large", 30)):
        document["classes"][name]["volume_gib"] = gib
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(document))
    try:
        result = served.run("classes", "validate", str(path), "--json")
    finally:
        del served.world.ec2.images.known[IMAGE]
    (found,) = json.loads(result.stdout)
    assert (result.exit_code, found["vm_class"], found["severity"]) == (1, "default", "error")
    assert "30 GiB, and volume_gib is 20: set it to 30 or more" in found["problem"]


def test_an_old_image_is_a_warning_and_stops_no_push(served: Served, tmp_path: Path) -> None:
    served.world.ec2.images.known[IMAGE] = Image(deprecated_at="2024-01-02T00:00:00.000Z")
    document = json.loads(CLASSES)
    document["classes"]["default"]["max_instances"] = 9
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(document))
    try:
        found = served.data("classes", "validate", str(path))
        assert {f["severity"] for f in found} == {"warning"}
        assert "deprecated since 2024-01-02" in served.ok("classes", "validate", str(path))
        assert "is now version" in served.ok("classes", "push", str(path))
    finally:
        del served.world.ec2.images.known[IMAGE]
        served.world._client("ssm").put_parameter(Name="/classes", Value=CLASSES, Overwrite=True)


@pytest.mark.parametrize("rules", [["class=large", "gpu=a100"], ["class=huge"], ["class=broken"]])
def test_why_no_class_fits_is_json_too(served: Served, tmp_path: Path, rules: list[str]) -> None:
    document = json.loads(CLASSES)
    document["classes"]["broken"] = {"instance_types": ["m7i.large"], "image": "nonsense"}
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(document))
    result = served.run("classes", "explain", "--json", "--file", str(path), *rules)
    said = json.loads(result.stdout)
    assert (result.exit_code, said["fits"]) == (1, False)
    assert said["reason"] in served.run("classes", "explain", "--file", str(path), *rules).stdout
