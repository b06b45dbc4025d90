"""What `classes`, `params` and `policy` say and write."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CLASSES
from tests.cli.served import Served
from tests.simulator.cloud.images import Image

pytestmark = pytest.mark.share(2)


@pytest.fixture(autouse=True)
def _images(served: Served) -> None:
    """One image of one architecture, and one that is gone."""
    served.world.ec2.images.known["ami-0123456789abcdef0"] = Image(architecture="x86_64")
    served.world.ec2.images.unknown.add("ami-00000000000000bad")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A class document that differs from the deployed one."""
    document = json.loads(CLASSES)
    document["classes"]["default"]["max_instances"] = 7
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"$schema": "./classes.schema.json", **document}))
    return path


def changed(file: Path, **changes: object) -> Path:
    document = json.loads(file.read_text())
    document["classes"]["default"] |= changes
    file.write_text(json.dumps(document))
    return file


def parameter(served: Served) -> dict[str, object]:
    answer = served.world._client("ssm").get_parameter(Name="/classes")["Parameter"]
    return dict(answer)


def test_a_document_that_this_account_can_launch_is_good_and_may_name_its_schema(served: Served, file: Path) -> None:
    assert "every class can be launched here" in served.ok("classes", "validate", str(file))
    assert "every class can be launched here" in served.ok("classes", "validate")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instance_types": ["m7i.lorge"]}, "m7i.lorge"),
        ({"image": "ami-00000000000000bad"}, "[ami-00000000000000bad]' does not exist"),
        ({"instance_types": ["m7g.large"]}, "m7g.large is arm64, and the image is x86_64"),
        ({"boot_timeout_seconds": 3000}, "boot_timeout"),
        ({"colour": "blue"}, "classes.default.colour"),
        (
            {"boot_timeout_seconds": 400, "standby": {"hot": 1, "max_age_minutes": 10}},
            "standby.max_age_minutes='10'",
        ),
    ],
)
def test_what_would_fail_at_the_first_job_is_found_before(
    served: Served, file: Path, changes: dict[str, object], words: str
) -> None:
    before = parameter(served)
    result = served.run("classes", "validate", str(changed(file, **changes)))
    assert result.exit_code == 1
    assert words in result.stdout
    pushed = served.run("classes", "push", str(file))
    assert pushed.exit_code == 1
    assert "Next: agent-stack classes validate" in pushed.stderr
    assert parameter(served)["Version"] == before["Version"]


def test_a_difference_is_of_meaning_not_of_form(served: Served, file: Path, tmp_path: Path) -> None:
    assert '+      "max_instances": 7' in served.ok("classes", "diff", str(file))
    same = tmp_path / "same.json"
    same.write_text(json.dumps(json.loads(CLASSES), indent=8))
    assert served.data("classes", "diff", str(same)) == []


def write(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


def test_a_push_writes_once_and_takes_the_tier_by_size(served: Served, file: Path) -> None:
    before = parameter(served)
    assert served.data("classes", "push", str(file))["tier"] == "Standard"
    assert parameter(served)["Value"] == file.read_text()
    assert served.data("classes", "push", str(file))["version"] is None
    small = file.read_text()
    document = json.loads(small)
    document["classes"] |= {f"class-{n}": document["classes"]["default"] for n in range(50)}
    file.write_text(json.dumps(document))
    assert served.data("classes", "push", str(file))["tier"] == "Advanced"
    assert served.data("classes", "push", write(file, small))["tier"] == "Advanced"  # it cannot become a standard one
    document["classes"] |= {f"more-{n}": document["classes"]["default"] for n in range(50)}
    file.write_text(json.dumps(document))
    result = served.run("classes", "push", str(file))
    assert "a parameter holds 8192" in result.stderr
    served.world._client("ssm").put_parameter(Name="/classes", Value=str(before["Value"]), Overwrite=True)


def test_rules_are_explained_as_the_dispatcher_judges_them(served: Served) -> None:
    assert served.ok("classes", "explain", "class=large", "size=l").startswith("class large: m7i.4xlarge, on-demand")
    result = served.run("classes", "explain", "class=large", "gpu=a100")
    assert result.exit_code == 1
    assert "do not offer “gpu=a100”" in result.stdout


def test_a_file_that_is_not_there_is_said_in_one_line(served: Served) -> None:
    result = served.run("classes", "diff", "/nowhere/classes.json")
    assert result.exit_code == 1
    assert "/nowhere/classes.json cannot be read" in result.stderr


# --- params ---


def test_parameters_say_what_a_change_of_them_does(served: Served) -> None:
    said = {line.split()[0]: line for line in served.ok("params").splitlines() if line.strip()}
    assert said["MaxInstances"].rstrip().endswith("at once")
    assert said["AgentVersion"].rstrip().endswith("replaces, with a new one made first")  # the baked image's recipe
    assert said["JobSudo"].rstrip().endswith("new VMs")
    one = served.ok("params", "NetworkCidr")
    assert "Network.Vpc" in one
    assert "10.61.0.0/16" in one


def test_a_misspelt_parameter_gets_the_nearest_right_one(served: Served) -> None:
    result = served.run("params", "MaxInstance")
    assert result.exit_code == 1
    assert "did you mean MaxInstances?" in result.stderr
