"""What the operator adds to a baked image: each member is there or told, and none is read as shell code."""

from pathlib import Path

import pytest

from infra import additions
from infra.baked_program import IMAGE, MAX_DATA_CHARACTERS
from tests.infra.image_yard import Yard
from tests.infra.stacks import REGION, template
from tests.infra.test_image_model import image

ADDED = ("Additions", "Pulls")
UBUNTU = "ubuntu-server-24-lts"
REPO = b"[tools]\nname=tools\nbaseurl=https://example.com/rpm\n"
KEY = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"


def test_packages_and_docker_images_are_in_the_image(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = yard.bake(ADDED, Packages="make, gcc-c++", DockerImages="alpine:3.22, ghcr.io/acme/app:1")
    assert (done.returncode, yard.lacks) == (0, [])
    assert "dnf -q -y install make gcc-c++" in yard.calls, "with one call"
    assert (yard.root / "var/lib/docker/pulled").read_text().split() == ["alpine:3.22", "ghcr.io/acme/app:1"]


def test_nothing_is_called_where_nothing_is_added(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    assert yard.bake(ADDED).returncode == 0
    assert (yard.calls, yard.files()) == ([], {})


@pytest.mark.parametrize("system", ["amazon-linux-2023", UBUNTU])
def test_what_cannot_be_had_is_told_with_its_setting_and_all_else_is_there(tmp_path: Path, system: str) -> None:
    yard = Yard(tmp_path, system, broken=("mkae", "acme/gone"))
    done = yard.bake(ADDED, Packages="make,mkae,zstd", DockerImages="acme/gone,alpine")
    assert done.returncode == 0
    assert yard.lacks == [
        "BakeImagePackages=mkae is not in this image: E: no mkae here",
        "BakeImageDockerImages=acme/gone is not in this image: Error response from daemon: [31mmanifest unknown",
    ]
    assert all(line in yard.said for line in yard.lacks), "in the log of the build, too"
    asked = [call.split("install --no-install-recommends " if "apt" in call else "install ")[1:] for call in yard.calls]
    packages = [words for (words,) in filter(None, asked)]
    assert packages == ["make mkae zstd", "make", "mkae", "mkae", "mkae", "zstd"], "three tries"
    assert (yard.root / "var/lib/docker/pulled").read_text() == "alpine\n"


def test_amazon_linux_takes_repo_files_whose_repositories_answer(tmp_path: Path) -> None:
    urls = [f"https://example.com/{name}.repo" for name in ("tools", "gone", "page", "missing")]
    answers = {urls[0]: REPO, urls[1]: REPO.replace(b"[tools]", b"[gone]"), urls[2]: b"<html>\n"}
    yard = Yard(tmp_path, answers=answers)
    listed = ",".join([*urls, "https://example.com/apt noble main https://example.com/key"])
    assert yard.bake(ADDED, Repositories=listed).returncode == 0
    found = {name: text for name, text in yard.files().items() if name.startswith("etc/")}
    assert found == {"etc/yum.repos.d/agent-stack-0.repo": REPO}, "no other one stays"
    assert [line.split(" is not in this image: ")[1] for line in yard.lacks] == [
        "E: no --repo=gone here",
        "the file names no repository",
        "curl: (22) The requested URL returned error: 404",
        "Amazon Linux takes the URL of a .repo file",
    ]


def test_ubuntu_takes_repositories_with_their_keys(tmp_path: Path) -> None:
    answers = {"https://example.com/key.asc": KEY, "https://example.com/key.gpg": b"\x99\x01"}
    yard = Yard(tmp_path, UBUNTU, answers=answers)
    listed = [
        "https://example.com/apt noble main extra https://example.com/key.asc",
        "https://example.com/flat ./ https://example.com/key.gpg",
        "https://example.com/gone noble main https://example.com/key.asc",
        "https://example.com/tools.repo",
    ]
    assert yard.bake(ADDED, Repositories=",".join(listed), Packages="tool").returncode == 0
    sources = yard.root / "etc/apt/sources.list.d"
    assert sorted(path.name for path in sources.iterdir()) == ["agent-stack-0.sources", "agent-stack-1.sources"]
    assert sources.joinpath("agent-stack-0.sources").read_text().splitlines() == [
        "Types: deb",
        "URIs: https://example.com/apt",
        "Suites: noble",
        "Components: main extra",
        f"Signed-By: {yard.root}/etc/apt/keyrings/agent-stack-0.asc",
    ]
    assert "Components" not in sources.joinpath("agent-stack-1.sources").read_text(), "a flat repository has none"
    keys = yard.root / "etc/apt/keyrings"
    assert sorted(path.name for path in keys.iterdir()) == ["agent-stack-0.asc", "agent-stack-1.gpg"]
    assert len(yard.lacks) == 2
    assert yard.calls.index("apt-get -q update") < len(yard.calls) - 1, "before the installation"


HOSTILE = [
    "$(touch PWNED)",
    "`touch PWNED`",
    "'; touch PWNED; '",
    '"; touch PWNED; "',
    "a\ntouch PWNED",
    "a; touch PWNED",
    "${BASH_VERSION}",
    "-a",
    "--config=/etc/passwd",
    "{{ build }}",
    "* ?[a-z]",
    "\u00e9\u00a0\U0001f600",
]


@pytest.mark.parametrize("setting", ["Packages", "Repositories", "DockerImages"])
def test_no_value_becomes_shell_code_or_an_option(tmp_path: Path, setting: str) -> None:
    """Even of what the template's patterns refuse."""
    yard = Yard(tmp_path)
    assert yard.bake(ADDED, {}, **{setting: ",".join(HOSTILE)}).returncode == 0
    assert not list(tmp_path.rglob("PWNED"))
    dashed = [value for value in HOSTILE if value.startswith("-")]
    assert not set(dashed) & {word for call in yard.calls for word in call.split()[1:]}
    assert [line.partition(" is not ")[0] for line in yard.lacks if "dash" in line] == [
        f"BakeImage{setting}={value}" for value in dashed
    ]
    plain = [value.replace("\n", " ") for value in HOSTILE if value not in dashed]
    if setting == "Packages":
        assert f"dnf -q -y install {' '.join(plain)}" in yard.calls, "as they were given"
    if setting == "DockerImages":
        assert (yard.root / "var/lib/docker/pulled").read_text().splitlines() == plain


def test_the_component_has_room_for_the_longest_values_that_the_template_allows() -> None:
    declared = template()["Parameters"]
    names = {of: f"BakeImage{of}" for of in additions.MAX_VALUES}
    assert {of: declared[name]["MaxLength"] for of, name in names.items()} == additions.MAX_VALUES
    most = {**additions.MAX_VALUES, **additions.MAX_OTHERS}
    region = most.pop("AWS::Region") - len(REGION)
    full = {of: "account" if of == "EcrLogin" else "x" * many for of, many in most.items()}
    for system in ("amazon-linux-2023", UBUNTU):
        resources = image(system, "x86", **full).resources
        for part in additions.PARTS:
            data = resources[part.logical_id]["Properties"]["Data"]
            spare = -(-region // 3) * 4 if "REGION" in part.settings else 0
            assert 0 <= additions.longest(part, additions.script(part)) - len(data) - spare <= 4
            assert additions.longest(part, additions.script(part)) <= MAX_DATA_CHARACTERS


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("x" * MAX_DATA_CHARACTERS, r"would have \d\d,\d+ characters .* takes 16,000\. Shorten additions\.sh"),
        ("echo {{", "a reference of its own"),
    ],
)
def test_a_script_that_image_builder_would_not_take_is_refused(program: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        additions.generated(IMAGE.read_text(), program)
