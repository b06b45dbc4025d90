"""Which host keys of git servers a VM takes: a listed server's listed ones, any other server's first."""

import getpass
import re
import subprocess
from pathlib import Path

import pytest

from infra.template_yaml import loads
from infra.user_data import TEMPLATE, VM
from tests.simulator.buildkite import Step
from tests.simulator.vm.process import STOCK_SSH
from tests.vm import readers
from tests.vm.harness import VmHarness
from tests.vm.test_private_repository import SSHD, private_key, repository, ssh_server
from tests.vm.test_private_work import as_setting, keep

pytestmark = [pytest.mark.e2e, pytest.mark.share(4)]

PUBLISHED = {
    "github.com (ED25519)": "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
    "github.com (ECDSA)": "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
    "gitlab.com (ED25519)": "SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
    "gitlab.com (ECDSA)": "SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
    "bitbucket.org (ED25519)": "SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM",
    "bitbucket.org (ECDSA)": "SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0",
}
"""As their owners' pages show them, apart from the keys themselves."""

ONE = "git.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_the_shipped_keys_have_the_fingerprints_that_their_owners_publish() -> None:
    said = subprocess.run(
        ["ssh-keygen", "-lf", VM / "data" / "known_hosts"], capture_output=True, text=True, check=True
    ).stdout
    assert {" ".join(line.split()[2:]): line.split()[1] for line in said.splitlines()} == PUBLISHED


IMAGES = {
    "stock": STOCK_SSH,
    "without Include": "Host *\n    HashKnownHosts yes\n",
    "with Include after its own rules": f"Host *\n    SendEnv LANG\n{STOCK_SSH}",
    "without a file": None,
    "whose last line has no end": "Host own.example\n    User own",
}


def image(directory: Path, text: str | None, **more: str) -> Path:
    """What an image has in /etc/ssh."""
    (directory / "ssh_config.d").mkdir(parents=True)
    for name, rules in more.items():
        (directory / "ssh_config.d" / f"{name}.conf").write_text(rules)
    if text is not None:
        (directory / "ssh_config").write_text(text.format(directory=directory))
    return directory


def checking(directory: Path, host: str) -> str:
    """How ssh judges a host's key."""
    said = subprocess.run(
        ["ssh", "-G", "-F", directory / "ssh_config", host], capture_output=True, text=True, check=True
    ).stdout
    return next(line.split()[1] for line in said.splitlines() if line.startswith("stricthostkeychecking "))


@pytest.mark.parametrize("own", IMAGES)
@pytest.mark.parametrize("settings", ["", ONE, f"[git.example]:2222,other.example{ONE[11:]}", f"# ours\r\n{ONE}\r\n"])
@pytest.mark.share(6)
def test_only_hosts_that_are_not_listed_are_known_by_what_they_show_first(
    settings: str, own: str, tmp_path: Path
) -> None:
    directory = image(tmp_path / "ssh", IMAGES[own])
    assert not readers.write_host_keys(settings, directory)
    listed = ["github.com", "gitlab.com", "bitbucket.org", *(["git.example"] if settings else [])]
    assert {checking(directory, host) for host in listed} == {"true"}
    assert checking(directory, "elsewhere.example") == "accept-new"


@pytest.mark.parametrize("own", ["yes", "no"])
@pytest.mark.parametrize("where", ["ssh_config", "ssh_config.d", "before Include"])
def test_an_images_own_rule_holds_for_hosts_that_are_not_listed(own: str, where: str, tmp_path: Path) -> None:
    rule = f"Host *\n    StrictHostKeyChecking {own}\n"
    text = {"ssh_config": STOCK_SSH + rule, "ssh_config.d": STOCK_SSH, "before Include": rule + STOCK_SSH}[where]
    more = {"50-own": rule} if where == "ssh_config.d" else {}
    directory = image(tmp_path / "ssh", text, **more)
    assert not readers.write_host_keys("", directory)
    assert checking(directory, "elsewhere.example") == {"yes": "true", "no": "false"}[own]
    assert checking(directory, "github.com") == "true"


def test_files_that_an_image_does_not_read_are_not_read_because_of_ours(tmp_path: Path) -> None:
    unread = {"50-unread": "Host *\n    StrictHostKeyChecking no\n"}
    directory = image(tmp_path / "ssh", IMAGES["without Include"], **unread)
    assert not readers.write_host_keys("", directory)
    assert checking(directory, "elsewhere.example") == "accept-new"


@pytest.mark.parametrize("slow", ["cat", "install", "grep"])
def test_an_images_own_configuration_is_kept_whichever_program_begins_late(slow: str, tmp_path: Path) -> None:
    directory = image(tmp_path / "ssh", IMAGES["without Include"])
    before = (directory / "ssh_config").read_text()
    assert not readers.write_host_keys(ONE, directory, slow=slow)
    assert before in (directory / "ssh_config").read_text()


def test_a_line_of_the_operators_takes_the_place_of_those_that_are_shipped(tmp_path: Path) -> None:
    ours = ONE.replace("git.example", "gitlab.com")
    assert not readers.write_host_keys(f"{ONE};{ours}", tmp_path)
    keys = (tmp_path / "ssh_known_hosts2").read_text().splitlines()
    assert [line for line in keys if line.startswith("gitlab.com ")] == [ours]
    assert sum(line.startswith("github.com ") for line in keys) == 2
    assert ONE in keys


@pytest.mark.parametrize(
    "wrong", ["git.example", ONE[:26], f"|1|abc=|def={ONE[11:]}", ONE.replace("ssh-ed25519", "ssh-dss"), "a b c"]
)
@pytest.mark.share(6)
def test_what_is_no_host_key_is_refused_by_its_line(wrong: str, tmp_path: Path) -> None:
    refused = readers.write_host_keys(f"{ONE}\n{wrong}\n", tmp_path)
    assert refused.startswith("parameter GitKnownHosts, line 2 is not ")
    assert not list(tmp_path.iterdir())


SEVERAL = [
    *(
        "",
        "\n",
        ONE,
        f"{ONE};{ONE}\r\n\r\n# ours\n{ONE} a comment",
        f"  {ONE}",
        f"[git.example]:2222,*.example{ONE[11:]};",
    ),
    *(f"{ONE}\n{wrong}" for wrong in ("git.example", ONE[:26], f"|1|abc=|def={ONE[11:]}", "a b c", f"!x,{ONE}")),
    *(
        f"{ONE};a b AAAA",
        f"{ONE};;{ONE};x",
        f"# {ONE}",
        ONE.replace("ssh-ed25519", "ssh-dss"),
        f"{ONE}\n#\n{ONE[:30]}é",
    ),
]


@pytest.mark.parametrize("text", SEVERAL)
def test_the_template_refuses_what_the_boot_program_refuses_whichever_line_it_is_in(text: str, tmp_path: Path) -> None:
    """So that a mistake is found at the deployment, and not by a VM."""
    declared = loads(TEMPLATE.read_text())["Parameters"]["GitKnownHosts"]
    taken = re.fullmatch(str(declared["AllowedPattern"]), text) is not None
    assert taken is not readers.write_host_keys(text, tmp_path).startswith("parameter GitKnownHosts, line ")


@pytest.mark.skipif(SSHD is None, reason="there is no sshd here")
@pytest.mark.parametrize("listed", ["its own key", "another key", "nothing"])
@pytest.mark.share(6)
def test_a_server_with_another_key_than_the_listed_one_gets_no_connection(
    harness: VmHarness, tmp_path: Path, listed: str
) -> None:
    key, source = private_key(tmp_path / "operator"), repository(tmp_path / "operator")
    keep(harness, "/private/default/ssh-key", key.read_text())
    with ssh_server(tmp_path / "server", key.with_suffix(".pub")) as port:
        own = (tmp_path / "server" / "host.pub").read_text()
        shown = {"its own key": own, "another key": key.with_suffix(".pub").read_text(), "nothing": ""}[listed]
        known = f"[127.0.0.1]:{port} {' '.join(shown.split()[:2])}" if shown else ""
        environment = {
            "BUILDKITE_REPO": f"ssh://{getpass.getuser()}@127.0.0.1:{port}{source}",
            "BUILDKITE_SKIP_CHECKOUT": "false",
        }
        job_id, token = harness.reserve(Step(command="cat secret", env=environment))
        harness.fill("i-1401", job_id, token)
        header = {"GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key", "GIT_KNOWN_HOSTS": as_setting(known)}
        vm = harness.boot("i-1401", header=header)
        harness.ended(vm)
    cloned = listed != "another key"
    assert ("the plan\n" in harness.output(job_id)) is cloned
    assert ("Host key verification failed" in harness.buildkite.job(job_id).log) is not cloned


def test_the_agent_does_not_take_a_servers_key_by_itself(harness: VmHarness) -> None:
    probe = '#!/bin/bash\necho "$BUILDKITE_NO_SSH_KEYSCAN"; stat -c %a "$LOCAL_VM_ROOT"/etc/ssh/*_hosts2; exit 3\n'
    job_id, token = harness.reserve("true")
    harness.fill("i-1402", job_id, token)
    vm = harness.boot("i-1402", agent=None, files={"bin/buildkite-agent": probe})
    harness.ended(vm)
    assert (vm.directory / "var/lib/agent-stack/agent.log").read_text() == "true\n644\n"
