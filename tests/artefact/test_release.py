"""What a release holds, and what it refuses."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
import yaml

from agent_stack.wiring.deployment import VERSION
from infra import release
from infra.release import FUNCTIONS, ReleaseError
from infra.template_yaml import loads
from infra.user_data import ROOT


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release whose functions are a small archive: how they are built is another file's test."""
    directory = tmp_path_factory.mktemp("built")
    functions = directory / "artefact.zip"
    with zipfile.ZipFile(functions, "w") as packed:
        packed.writestr("handlers/dispatcher.py", "")
    made = release.make(directory / "release", functions=functions, tag=f"v{VERSION}")
    return {path.name: path for path in made}


def test_it_has_functions_template_wheel_and_checksums(files: dict[str, Path]) -> None:
    assert set(files) == {
        f"agent-stack-ec2-{VERSION}-functions.zip",
        f"agent-stack-ec2-{VERSION}-template.zip",
        f"agent_stack_ec2-{VERSION}-py3-none-any.whl",
        "SHA256SUMS",
    }
    lines = [line.split("  ") for line in files["SHA256SUMS"].read_text().splitlines()]
    said = {name: digest for digest, name in lines}
    assert said == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != "SHA256SUMS"
    }


def test_the_template_names_only_what_lies_beside_it(files: dict[str, Path]) -> None:
    bundle = zipfile.ZipFile(files[f"agent-stack-ec2-{VERSION}-template.zip"])
    parsed = loads(bundle.read("template.yaml").decode())
    functions = [one for one in parsed["Resources"].values() if one["Type"] == "AWS::Serverless::Function"]
    assert functions
    assert {one["Properties"]["CodeUri"] for one in functions} == {FUNCTIONS}
    assert "CodeUri" not in parsed["Globals"]["Function"]
    nested = {
        one["Properties"]["TemplateURL"]
        for one in parsed["Resources"].values()
        if one["Type"] == "AWS::CloudFormation::Stack"
    }
    assert nested
    assert set(bundle.namelist()) == {"template.yaml", FUNCTIONS} | nested
    assert zipfile.ZipFile(io.BytesIO(bundle.read(FUNCTIONS))).namelist() == ["handlers/dispatcher.py"]


def test_the_wheel_starts_the_operators_command(files: dict[str, Path]) -> None:
    names = zipfile.ZipFile(files[f"agent_stack_ec2-{VERSION}-py3-none-any.whl"]).namelist()
    assert "agent_stack_cli/__main__.py" in names
    assert "agent_stack_cli/parameters.json" in names
    assert "agent_stack/settings.py" in names


def test_a_tag_of_another_version_is_refused() -> None:
    with pytest.raises(ReleaseError, match="tag v"):
        release.version("v0.0.1")
    assert release.version(f"v{VERSION}") == VERSION


@pytest.mark.parametrize(
    "changelog", ["# Changelog\n", "## Unreleased\n\n- a line\n", f"## {VERSION}\n\n## 0.1.0\n- x\n"]
)
def test_a_version_without_its_section_is_refused(changelog: str) -> None:
    with pytest.raises(ReleaseError, match="no section"):
        release.version(changelog=changelog)


def test_the_notes_are_the_section_of_the_version() -> None:
    assert release.notes("1.0", changelog="# C\n\n## 1.0 (2026)\n\n- new\n\n## 0.9\n\n- old\n") == "- new\n"
    assert "Upgrade" in release.notes(VERSION)


def test_publishing_attaches_every_file(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert release.publish("v1", list(files.values()), Path("notes.md"), dry=True) == 0
    said = capsys.readouterr().out
    assert said.startswith("+ gh release create v1 ")
    assert all(str(path) in said for path in files.values())


def test_without_gh_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ReleaseError, match="install"):
        release.publish("v1", [], Path("notes.md"), dry=False)


def test_the_workflow_releases_the_tag_that_was_pushed() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as true
    runs = [step["run"] for step in workflow["jobs"]["run"]["steps"] if "run" in step]
    assert 'scripts/release --tag "$GITHUB_REF_NAME" --publish' in runs


LINES = "# VERSION MACHINE SHA256\n4.0.3 amd64 " + "a" * 64 + "\n4.0.3 arm64 " + "b" * 64 + "\n"


def test_a_release_with_the_default_agents_digests_may_be_published() -> None:
    release.pinned(LINES, default="4.0.3")


@pytest.mark.parametrize(
    ("known", "default", "missing"),
    [
        (LINES, "4.0.4", "amd64 and arm64"),
        ("".join(LINES.splitlines(keepends=True)[:2]), "4.0.3", "for arm64 in"),
        ("# 4.0.3 amd64\n# 4.0.3 arm64\n", "4.0.3", "amd64 and arm64"),
    ],
)
def test_nothing_is_published_while_vms_would_trust_a_mirror(known: str, default: str, missing: str) -> None:
    with pytest.raises(ReleaseError, match=rf"{missing}.*agent_digests: run scripts/pin-agent"):
        release.pinned(known, default=default)


def test_publishing_asks_for_the_digests_before_it_builds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise ReleaseError("the default agent has no digest")

    monkeypatch.setattr(release, "pinned", refuse)
    monkeypatch.setattr(release, "build", lambda _: pytest.fail("it built first"))
    monkeypatch.setattr("sys.argv", ["release", "--publish"])
    assert release.main() == 1
    assert capsys.readouterr().err == "Not released: the default agent has no digest\n"


def test_the_release_workflow_pins_the_agent_before_anything_is_checked_or_built() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    ran = [step["run"] for step in workflow["jobs"]["run"]["steps"] if "run" in step]
    assert ran[0] == "scripts/pin-agent && scripts/generate"
    assert ran[-1].startswith("scripts/release --tag")
