"""Every value arrives byte for byte, or is refused with the parameter and the line."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_stack.adapters.ssm import SsmSecrets
from agent_stack.adapters.stacks_api.models import ListedJob
from agent_stack.domain.errors import ConfigurationError
from agent_stack.settings import Settings
from infra.template_yaml import loads
from infra.user_data import TEMPLATE
from tests.unit.values import an_environment
from tests.vm import readers

EXAMPLES = settings(max_examples=40, deadline=None)

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=60)
NASTY = st.text(st.sampled_from(list("ab=,\"'\\$`{}[]:#;!&*?|<>()~ \t\n\r\b\fé€😀/uU0n%")), max_size=60)
ANY = TEXT | NASTY
ONE_LINE = ANY.map(lambda text: text.replace("\n", "").replace("\r", ""))
NAMES = st.from_regex(r"\AX_[A-Za-z0-9_]{0,8}\Z")
LINE_END = st.sampled_from(["\n", "\r\n"])


@EXAMPLES
@given(stored=ANY, ascii_only=st.booleans())
def test_a_parameter_is_read_as_it_is_stored(stored: str, ascii_only: bool) -> None:  # noqa: FBT001  (hypothesis's)
    """Also where it looks like another parameter, or like the end of the answer."""
    assert readers.read_parameter("as_stored", stored, ascii_only=ascii_only) == readers.Read(text=stored)


@EXAMPLES
@given(before=ANY, after=ANY)
def test_a_nul_is_refused_with_parameter_and_line(before: str, after: str) -> None:
    line = before.count("\n") + 1
    refused = readers.read_parameter("as_stored", f"{before}\0{after}").refused
    assert refused.startswith(f"parameter /private/it, line {line} holds a NUL character")


@EXAMPLES
@given(pairs=st.dictionaries(NAMES, ONE_LINE, max_size=4), end=LINE_END, last=st.booleans())
def test_a_jobs_variables_arrive_whatever_ends_their_lines(pairs: dict[str, str], end: str, last: bool) -> None:  # noqa: FBT001
    stored = "# mine\n" + end.join(["", *(f"{name}={value}" for name, value in pairs.items())]) + (end if last else "")
    read = readers.read_parameter("read_job_environment", stored)
    assert not read.refused
    found = readers.exported_by_hook(read.text)
    assert {name: value for name, value in found.items() if name.startswith("X_")} == pairs


@pytest.mark.parametrize(
    ("setting", "queue", "named"),
    [
        ("/private/{queue}/ssh-key", "default", "/private/default/ssh-key"),
        ("private/ssh-key", "a/b", "private/ssh-key"),
        (
            "/aws/reference/secretsmanager/ci/{queue}",
            "linux-arm_64.v2",
            "/aws/reference/secretsmanager/ci/linux-arm_64.v2",
        ),
    ],
)
def test_a_parameter_is_named_for_the_jobs_queue(setting: str, queue: str, named: str) -> None:
    assert f'{{"Names":["{named}"]' in readers.parameter_name(setting, queue).text


def test_a_queue_that_is_named_by_an_alias_gets_no_parameter_by_its_key() -> None:
    """The mailbox holds no key then, because the agent must not ask for a queue of that name."""
    assert readers.parameter_name("/private/{queue}/ssh-key", "").refused == (
        "GitSshKeyParameter holds {queue}, and the parameter Queues names this job's queue by an alias. "
        "Name the queue by its key in Queues, or write a name without {queue}"
    )
    assert "/private/ssh-key" in readers.parameter_name("/private/ssh-key", "").text


@pytest.mark.parametrize("queue", ["..", ".", "other/ssh-key", "*", "a,b", "a:b", "a b", "$(id)", "`id`", 'a","b'])
def test_a_queue_whose_key_could_lead_elsewhere_gets_no_parameter(queue: str) -> None:
    refused = readers.parameter_name("/private/{queue}/ssh-key", queue).refused
    assert refused.startswith("GitSshKeyParameter ")
    assert "letters, digits and ._-" in refused


@pytest.mark.parametrize("name", ["/a/../b", "/a//b", "a/", "/a/$(id)", "/a/x[$(id)]", "/a/b c", "/a/{other}"])
def test_a_name_that_a_shell_or_a_path_could_misread_is_refused(name: str) -> None:
    assert readers.parameter_name(name, "default").refused.startswith(
        f"GitSshKeyParameter names parameter {name}, which"
    )


CONTROLS = (
    *("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS"),
    *("BUILDKITE", "BUILDKITE_AGENT_TOKEN", "BUILDKITE_HOOKS_PATH", "AGENT_STACK_PRIVATE"),
)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_name_that_controls_programs_or_the_agent_is_refused_with_parameter_line_and_remedy(name: str) -> None:
    refused = readers.read_parameter("read_job_environment", f"A=b\n# mine\n{name}=s3cr3t\n").refused
    assert refused.startswith(f"parameter /private/it, line 3 names {name}, which controls ")
    assert refused.endswith(". Give the variable another name")
    assert "s3cr3t" not in refused


@pytest.mark.parametrize("name", ["OLD_PATH", "MY_LD_PRELOAD", "PATHS", "ENVIRONMENT", "BUILDKITE_ANALYTICS_TOKEN"])
def test_a_name_that_only_looks_like_one_is_taken(name: str) -> None:
    assert readers.read_parameter("read_job_environment", f"{name}=x\n").text == f"{name}=x\n"


@pytest.mark.parametrize("wrong", ["export A=b", "A", "=b", "1A=b", " A=b", "A-B=c", "UID=0", "SHELLOPTS=x"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_is_no_variable_is_refused_by_its_number(wrong: str, end: str) -> None:
    refused = readers.read_parameter("read_job_environment", f"A=b{end}{end}{wrong}{end}C=d").refused
    assert refused.startswith("parameter /private/it, line 3 ")
    assert "A=b" not in refused


@EXAMPLES
@given(pairs=st.dictionaries(NAMES, ANY.filter(lambda text: "\n" not in text and "\r\n" not in text), min_size=1))
def test_agent_settings_one_a_line_arrive_as_they_are(pairs: dict[str, str]) -> None:
    text = "".join(f"{name}={value}\n" for name, value in pairs.items() if not value.endswith("\r"))
    wanted = {name: value for name, value in pairs.items() if not value.endswith("\r")}
    assert readers.told_to_agent(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A=1,B=2", {"A": "1", "B": "2"}),
        ("A=1, B=2", {"A": "1", "B": "2"}),
        ("A=-v,--depth=1,B=2", {"A": "-v,--depth=1", "B": "2"}),
        ("A=x,y,,z,", {"A": "x,y,,z,"}),
        ("A=service=a,env=b\n", {"A": "service=a,env=b"}),
        ('A=1\r\nB=it\'s "quoted" \\n $HOME `x`\r\n', {"A": "1", "B": 'it\'s "quoted" \\n $HOME `x`'}),
        ("", {}),
    ],
)
def test_agent_settings_in_one_line_may_have_commas(text: str, wanted: dict[str, str]) -> None:
    assert readers.told_to_agent(text) == wanted


def test_an_agent_setting_without_a_name_is_refused_by_its_line() -> None:
    assert readers.told_to_agent("A=1\nnonsense\n") == "parameter AgentEnvironment, line 2 is not NAME=value"


@EXAMPLES
@given(pairs=st.dictionaries(NAMES, ONE_LINE, max_size=4))
def test_settings_in_user_data_arrive_as_they_are(pairs: dict[str, str]) -> None:
    found = readers.settings_in_user_data("\n" + "".join(f"{name}={value}\n" for name, value in pairs.items()))
    assert {name: value for name, value in found.items() if name.startswith("X_")} == pairs


class Stored:
    """SSM, for the functions' reader."""

    def __init__(self, value: str) -> None:
        self._value = value

    def read(self, name: str, *, setting: str, remedy: str) -> str:
        return self._value


@EXAMPLES
@given(stored=ANY | st.from_regex(r"\A\s*[!-~]+\s*\Z"))
def test_functions_and_vms_read_the_same_token(stored: str) -> None:
    try:
        token = SsmSecrets(parameters=Stored(stored), name="/token").agent_token()  # type: ignore[arg-type]  # reads
    except ConfigurationError:
        token = ""
    assert readers.one_word(stored).text == token


@EXAMPLES
@given(rest=ONE_LINE.filter(bool) | st.from_regex(r"\A[!-~]+\Z"))
def test_functions_and_vms_accept_the_same_endpoints(rest: str) -> None:
    endpoint = f"https://{rest}"
    try:
        accepted = Settings.from_environment(an_environment(BUILDKITE_ENDPOINT=endpoint)).endpoint
    except (ConfigurationError, ValidationError):
        accepted = ""
    assert readers.read_mail("endpoint", endpoint).text == accepted


@EXAMPLES
@given(job_id=st.from_regex(r"\A[!-~]{1,40}\Z") | ANY.filter(bool))
def test_functions_and_vms_accept_the_same_job_ids(job_id: str) -> None:
    """Otherwise a job is reserved, and each of its VMs refuses it."""
    listed = {"id": job_id, "scheduled_at": "2026-11-27T00:00:00Z"}
    try:
        accepted = ListedJob.model_validate(listed).id
    except ValidationError:
        accepted = ""
    assert readers.read_mail("job_id", job_id).text == accepted


@pytest.mark.parametrize("line", ["A=x", 'A="x"', "A=\\x", "A=\u20ac"])
def test_a_long_value_is_read_in_a_time_that_grows_with_its_length(line: str) -> None:
    """Pieces of it end anywhere: in an escape, between the halves of a character, before a quote."""
    for count in (*range(60, 80), 1_000):
        stored = f"{line}\U0001f680\n" * count
        assert readers.read_parameter("as_stored", stored).text == stored


@EXAMPLES
@given(body=st.lists(st.from_regex(r"\A[A-Za-z0-9+/=]{1,20}\Z"), max_size=4), end=LINE_END, last=st.booleans())
def test_a_private_key_has_the_line_ends_that_ssh_reads(body: list[str], end: str, last: bool) -> None:  # noqa: FBT001
    lines = ["-----BEGIN OPENSSH PRIVATE KEY-----", *body, "-----END OPENSSH PRIVATE KEY-----"]
    read = readers.read_parameter("read_git_ssh_key", end.join(lines) + (end if last else ""))
    assert read.text == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("reader", "stored", "line"),
    [
        ("read_git_ssh_key", "ssh-ed25519 AAAA someone", 1),
        ("read_git_ssh_key", "", 1),
        ("read_git_credentials", "https://x:y@host\r\ngit@host:repo\r\n", 2),
        ("read_git_credentials", "https://host/without", 1),
        ("read_jwks", "kid: 1", 1),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_line(reader: str, stored: str, line: int) -> None:
    assert readers.read_parameter(reader, stored).refused.startswith(f"parameter /private/it, line {line} ")


@EXAMPLES
@given(space=st.sampled_from(["", " ", "\n", "\r\n\t"]), rest=ANY)
def test_a_set_of_keys_is_left_as_it_is(space: str, rest: str) -> None:
    stored = f'{space}{{"keys": [{rest}]}}'
    assert readers.read_parameter("read_jwks", stored) == readers.Read(text=stored)


@pytest.mark.parametrize(
    "text",
    [
        *("", "A=b", "\n", "A=b\n", "A=b\r\n\r\n  C=d\r\n", "A=b,c,D=e", "A=\nB=x y", "A=b\n\tC=d"),
        *("A=b\nnonsense", "A=b\nC", "A=b\n#C=d", "A=b\n  \nC=d", "A=b\r\n1C=d\nE=f", "\nnonsense\nA=b", "nonsense"),
    ],
)
def test_the_template_refuses_agent_settings_that_the_boot_program_refuses_whichever_line_they_are_in(
    text: str,
) -> None:
    declared = loads(TEMPLATE.read_text())["Parameters"]["AgentEnvironment"]
    taken = re.fullmatch(str(declared["AllowedPattern"]), text) is not None
    assert taken is not isinstance(readers.told_to_agent(text), str)
