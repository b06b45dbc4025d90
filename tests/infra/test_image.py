"""What Image Builder would refuse on an upgrade: another component or recipe under a name and version that exist."""

import base64
import bisect
import contextlib
import gzip
import hashlib
import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.baked_program import AGENT, DIRECTORY, IMAGE, MAX_DATA_CHARACTERS, NAMES, commands, generated
from infra.pin_agent import KEPT_VERSIONS, MACHINES, written
from infra.template_yaml import loads
from infra.user_data import ROOT, program_sha256, second_stage

DIGESTS = {
    "1": "f63493f66540db89",
    "2": "458d82d7ec029b4b",
    "3": "97d324f14b90c8fa",
    "4": "19babd9d16fc49a5",
    "5": "677f6c51ce261ee7",
    "6": "62c8aaa1508e94bf",
    "7": "b36430032fe3af94",
}
"""By revision, which ends the names of component and recipe: of what both are made of."""


def test_another_text_of_the_image_has_another_name() -> None:
    resources = loads((ROOT / "infra" / "image.yaml").read_text())["Resources"]
    parts = [dict(resources[name]["Properties"]) for name in ("Component", "Additions", "Pulls", "Recipe")]
    names = [str(properties.pop("Name")["Fn::Sub"]) for properties in parts]
    assert all(name.endswith("-${Settings.LatestVersionNumber}") for name in names), "other settings, another name"
    (revision,) = {name.split("-")[-2] for name in names}
    made_of = json.dumps(parts, sort_keys=True, default=str)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    assert DIGESTS.get(revision) == digest, "give all three names the next revision, and note its digest here"


def test_the_image_holds_the_program_of_its_stack_under_its_hash() -> None:
    text = IMAGE.read_text()
    assert generated(text) == text
    resources = loads(text)["Resources"]
    data = [data_of(resources[name]) for name in NAMES]
    assert all(len(one) <= MAX_DATA_CHARACTERS for one in data)
    halves = [half for one in data for half in re.findall(r"echo (\S+) \| base64 -d >>?", one)]
    assert gzip.decompress(b"".join(map(base64.b64decode, halves))).decode() == second_stage()
    assert f"mv {DIRECTORY}/{program_sha256()}.gz.half {DIRECTORY}/{program_sha256()}.gz" in data[-1]
    for name in (*NAMES, "Recipe"):
        named = resources[name]["Properties"]["Name"]["Fn::Sub"]
        assert program_sha256()[:12] in named, "another program is another component and another recipe"
    *listed, cli, additions, pulls = resources["Recipe"]["Properties"]["Components"]
    refs = [component["ComponentArn"]["Ref"] for component in listed]
    assert refs == ["Component", *NAMES], "each half after the one before"
    assert cli["Fn::If"][0] == "IsUbuntu", "the AWS CLI, and after unzip"
    assert additions["ComponentArn"]["Ref"] == "Additions", "after everything that it may need"
    assert pulls["ComponentArn"]["Ref"] == "Pulls", "after what docker may get by then"


def program_with_pins(versions: int) -> str:
    """The second stage with random digests of so many versions, as `scripts/pin-agent` writes them one by one."""
    rolled = random.Random(versions)
    pins = ""
    for number in range(versions):
        added = [f"4.{number}.0 {machine} {rolled.randbytes(32).hex()}" for machine in MACHINES]
        pins = written(pins, added, default="4.0.0")
    text, count = re.subn(r"(<<'DIGESTS'\n)(?:[^\n]+ [^\n]+\n)*(DIGESTS\n)", rf"\g<1>{pins}\2", second_stage())
    assert count == 1
    return text


def data_of(resource: Any) -> str:  # noqa: ANN401  (of a template)
    """A component's text, which a variable may be put into."""
    data = resource["Properties"]["Data"]
    return str(data["Fn::Sub"] if isinstance(data, dict) else data)


def longest_of(image: str) -> int:
    """How many characters the longer of the components has."""
    resources = loads(image)["Resources"]
    return max(len(data_of(resources[name])) for name in NAMES)


@pytest.mark.parametrize("versions", [1, KEPT_VERSIONS, 40])
def test_the_image_takes_the_digests_of_as_many_versions_as_are_kept(versions: int) -> None:
    program = program_with_pins(versions)
    assert len(re.findall(r"^4\.\d+\.0 (?:amd64|arm64) [0-9a-f]{64}$", program, re.MULTILINE)) == 2 * min(
        versions, KEPT_VERSIONS
    )
    assert longest_of(generated(IMAGE.read_text(), program)) <= MAX_DATA_CHARACTERS


def test_the_limit_is_of_what_image_builder_gets_and_the_error_says_what_to_do() -> None:
    """Not of the component's lines in the template, which YAML takes its indentation off."""
    noise = random.Random(1).randbytes(10_000).hex()

    def image(size: int) -> str:
        return generated(IMAGE.read_text(), f"{second_stage()}# {noise[:size]}\n")

    def fits(size: int) -> bool:
        with contextlib.suppress(ValueError):
            return bool(image(size))
        return False

    sizes = range(0, 20_000, 40)
    most = sizes[bisect.bisect_left(sizes, 1, key=lambda size: int(not fits(size))) - 1]
    longest = longest_of(image(most))
    assert MAX_DATA_CHARACTERS - 60 <= longest <= MAX_DATA_CHARACTERS
    with pytest.raises(ValueError, match=r"would have \d\d,\d+ characters; Image Builder takes 16,000\. Remove"):
        image(20_000)


@pytest.mark.parametrize(("known", "baked"), [("its own", True), ("another", False), ("none", True)])
def test_an_agent_with_another_digest_than_the_known_one_is_not_baked(
    tmp_path: Path, known: str, *, baked: bool
) -> None:
    agent = tmp_path / "agent"
    agent.write_text("an agent")
    digest = {"its own": hashlib.sha256(agent.read_bytes()).hexdigest(), "another": "0" * 64, "none": ""}[known]
    pins = "".join(f"4.0.3 {machine} {digest}\n" for machine in ("amd64", "arm64") if digest)
    packed = base64.b64encode(gzip.compress(f"cat <<'DIGESTS'\n{pins}DIGESTS\n".encode())).decode()
    done = []
    first, rest = commands(packed, "f" * 64)
    for command in (*first, *rest):
        text = command.replace("${AgentVersion}", "4.0.3").replace(DIRECTORY, str(tmp_path)).replace(AGENT, str(agent))
        done.append(subprocess.run(["bash", "-c", text], capture_output=True, check=False).returncode)
    assert done[:-1] == [0] * 4
    assert gzip.decompress((tmp_path / f"{'f' * 64}.gz").read_bytes()).decode().endswith("DIGESTS\n")
    assert (done[-1] == 0) is baked
