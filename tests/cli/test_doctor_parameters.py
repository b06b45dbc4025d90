"""A parameter file is examined before a first deployment."""

from pathlib import Path

import pytest

from tests.cli.served import Served
from tests.simulator.world import REGION, TOKEN_PARAMETER

pytestmark = pytest.mark.share(8)

GOOD = {"AgentTokenParameter": TOKEN_PARAMETER, "StackKey": "ci", "MaxInstances": "20"}
PLAIN = "/buildkite/in-the-open"


def examined(served: Served, path: Path, changes: dict[str, str | None]) -> tuple[int, str]:
    given = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    path.write_text("# ours\n" + "".join(f"{name}={value}\n" for name, value in given.items()))
    result = served.run("doctor", "--parameters", str(path))
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MaxInstance": "5"}, "did you mean MaxInstances?"),
        ({"MaxInstances": "0"}, "the nearest is 1"),
        ({"NotificationLevel": "norml"}, "did you mean normal?"),
        ({"StackKey": "a b"}, "letters, digits, underscores and dashes"),
        ({"AgentTokenParameter": "/nowhere"}, "there is no SSM parameter /nowhere in eu-central-1"),
        ({"AgentTokenParameter": PLAIN}, f"{PLAIN} is of type String"),
        ({"Subnets": "subnet-0123456789abcdef0"}, "subnet-0123456789abcdef0 is not in eu-central-1"),
        ({"ClassesParameter": "/nowhere"}, "there is no SSM parameter /nowhere"),
        ({"StackKey": None}, "StackKey is missing"),
    ],
)
def test_each_fault_of_a_file_is_found(
    served: Served, tmp_path: Path, changes: dict[str, str | None], words: str
) -> None:
    served.world._client("ssm").put_parameter(Name=PLAIN, Value="x", Type="String", Overwrite=True)
    status, said = examined(served, tmp_path / "ci.parameters", changes)
    assert status == 1
    assert words in said
    assert "Because of it: " in said
    assert "Do: " in said
    assert "agent-stack params" not in said  # there is no stack yet that it could be asked of


def test_subnets_of_another_vpc_are_found(served: Served, tmp_path: Path) -> None:
    subnet = next(iter(served.world.ec2.network.subnets))
    status, said = examined(served, tmp_path / "ci.parameters", {"Subnets": subnet, "VpcId": "vpc-0fffffffffffffff0"})
    assert status == 1
    assert f"{subnet} is in vpc-" in said


def test_a_good_parameter_file_passes(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "ci.parameters"
    status, said = examined(served, path, {})
    assert (status, f"PASS  {path} in {REGION}" in said) == (0, True)
