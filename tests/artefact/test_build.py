"""What the build takes out, and what it refuses."""

import gzip
import json
from pathlib import Path

import pytest

from assemble import UnbuildableError, keep_models, services_used, settle, tidy
from infra.template_yaml import loads
from infra.user_data import ROOT, TEMPLATE


def a_model(data: Path, service: str, version: str) -> Path:
    path = data / service / version / "service-2.json.gz"
    path.parent.mkdir(parents=True)
    shapes = {"Documented": {"type": "structure", "members": {"documentation": {"shape": "String"}}}}
    model = {"documentation": "<p>Long</p>", "operations": {"Do": {"documentation": "x"}}, "shapes": shapes}
    path.write_bytes(gzip.compress(json.dumps(model).encode()))
    return path


FUNCTIONS = ROOT / "functions"


def a_package(directory: Path, code: str) -> Path:
    for name in ("agent_stack", "handlers"):
        (directory / name).mkdir()
    (directory / "agent_stack" / "wiring.py").write_text(code)
    return directory


def test_the_services_are_those_whose_clients_the_code_makes(tmp_path: Path) -> None:
    code = "a = session.client('sqs', config=c)\nb = self.client().describe()\nd = low.create_client('ec2', **e)\n"
    assert services_used(a_package(tmp_path, code)) == {"ec2", "sqs"}


def test_the_functions_ask_three_services() -> None:
    """What ships holds the models of these; a client that is made otherwise would find none."""
    assert services_used(FUNCTIONS) == {"dynamodb", "ec2", "sqs", "ssm"}


def test_code_without_any_client_is_not_built(tmp_path: Path) -> None:
    """It would ship without a model, and fail at its first call."""
    with pytest.raises(UnbuildableError, match="no client of any service"):
        services_used(a_package(tmp_path, "x = 1\n"))


def test_a_client_of_an_unnamed_service_is_not_built(tmp_path: Path) -> None:
    directory = a_package(tmp_path, "\nsession.client(name)\n")
    with pytest.raises(UnbuildableError, match=r"agent_stack/wiring\.py:2 makes a client"):
        services_used(directory)


def test_a_service_that_botocore_does_not_know_is_not_built(tmp_path: Path) -> None:
    a_model(tmp_path, "ec2", "2016-11-15")
    with pytest.raises(UnbuildableError, match="no service named dynamo;"):
        keep_models(tmp_path, {"ec2", "dynamo"})


def test_models_of_other_services_and_of_older_versions_go(tmp_path: Path) -> None:
    for service, version in (("ec2", "2014-09-01"), ("ec2", "2016-11-15"), ("s3", "2006-03-01")):
        a_model(tmp_path, service, version)
    (tmp_path / "partitions.json").write_text("{}")
    keep_models(tmp_path, {"ec2"})
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "ec2/2016-11-15/service-2.json.gz",
        "partitions.json",
    ]


def test_a_model_loses_its_documentation_and_no_member_of_that_name(tmp_path: Path) -> None:
    path = a_model(tmp_path, "ec2", "2016-11-15")
    keep_models(tmp_path, {"ec2"})
    model = json.loads(gzip.decompress(path.read_bytes()))
    assert model == {
        "operations": {"Do": {}},
        "shapes": {"Documented": {"type": "structure", "members": {"documentation": {"shape": "String"}}}},
    }


def test_what_installers_leave_goes_and_what_scanners_read_stays(tmp_path: Path) -> None:
    info = tmp_path / "httpx-0.28.1.dist-info"
    info.mkdir()
    for name in ("METADATA", "RECORD", "INSTALLER", "direct_url.json"):
        (info / name).write_text(name)
    (tmp_path / "bin").mkdir()
    tidy(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [
        "httpx-0.28.1.dist-info/METADATA"
    ]


@pytest.mark.parametrize("path", [TEMPLATE, *sorted((ROOT / "infra").glob("*.yaml"))], ids=lambda path: path.name)
def test_no_output_is_named_like_a_parameter(path: Path) -> None:
    """`sam build` puts the parameter's value in the place of such a name, and falls over a list."""
    template = loads(path.read_text())
    assert set(template.get("Outputs", {})) & set(template.get("Parameters", {})) == set()


def test_all_files_are_of_one_time_and_mode(tmp_path: Path) -> None:
    for name, mode in (("a", 0o600), ("b", 0o755)):
        (tmp_path / name).touch(mode)
    settle(tmp_path)
    assert {(found.st_mtime, found.st_mode & 0o777) for found in (path.stat() for path in tmp_path.iterdir())} == {
        (315_532_800, 0o644)
    }
