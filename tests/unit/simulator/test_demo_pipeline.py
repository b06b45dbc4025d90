"""Pipeline files as teams write them: what becomes of them, and what is said of what does not run."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.buildkite import RetryRule, Step, StepKind
from tests.simulator.demo.model import Cancel, Ran
from tests.simulator.demo.pipeline import Pipeline, PipelineError, parse_pipeline, read_pipeline
from tests.simulator.demo.pretend import pretended
from tests.simulator.demo.written import Mistake

SET = "Set BUILDKITE_AGENT_BINARY to run them"
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def steps(text: str) -> list[Step]:
    return [one.step for one in parse_pipeline(text).steps]


def step(text: str) -> Step:
    """The only job of a pipeline with one command step, given its further lines."""
    (only,) = steps(f"steps:\n- command: 'true'\n  {text}\n")
    return only


def notes(text: str, *, real_agent: bool = False) -> list[tuple[int, str]]:
    return [(note.line, note.what) for note in parse_pipeline(text, real_agent=real_agent).notes]


def refusal(text: str, tmp_path: Path) -> str:
    path = tmp_path / "pipeline.yml"
    path.write_text(text)
    with pytest.raises(PipelineError) as refused:
        read_pipeline(path)
    return str(refused.value).removeprefix(f"{path}, ")


def needs(text: str) -> dict[str, list[str]]:
    """Labels by label: whom each step waits for."""
    every = steps(text)
    labels = {one.handle: one.label or one.command for one in every}
    return {one.label or one.command: [labels[h] + "?" * (h in one.tolerates) for h in one.waits_for] for one in every}


@pytest.mark.parametrize(
    ("written", "command"),
    [
        ("command: make", "make"),
        ("commands: [make, make test]", "make\nmake test"),
        ("command:\n  - make\n  - make test", "make\nmake test"),
        ("command: |\n    make\n    make test", "make\nmake test\n"),
        ("commands: [1, true]", "1\ntrue"),
        ("command: echo $$HOME $${HOME} $$(id) $$ \\$HOME", "echo $HOME ${HOME} $(id) $$ $HOME"),
    ],
)
def test_a_command_is_one_text_or_a_list(written: str, command: str) -> None:
    (made,) = steps(f"steps:\n- {written}\n")
    assert made.command == command


@pytest.mark.parametrize(
    ("written", "value"),
    [("yes", "yes"), ("true", "true"), ("3", "3"), ("1.5", "1.5"), ("2.0", "2"), ("", ""), ("12:30", "12:30"),
     ("2026-01-05", "2026-01-05"), ('"007"', "007"), ("off", "off"), ("0x1f", "31")],
)  # fmt: skip
def test_a_variable_may_be_any_scalar_and_words_are_read_as_buildkite_reads_them(written: str, value: str) -> None:
    assert step(f"env: {{ MODE: {written} }}").env == {"MODE": value}
    assert parse_pipeline(f"env: {{ MODE: {written} }}\nsteps: [{{command: a}}]").env == {"MODE": value}


def test_a_wait_holds_all_after_it_and_a_step_that_names_what_it_needs_passes_it_by() -> None:
    text = """
steps:
- {command: a, key: a}
- {command: b}
- wait
- {command: c}
- {command: d, depends_on: a}
- {command: e, depends_on: []}
- {command: f, depends_on: [{step: b2, allow_failure: true}, a]}
- {command: g, key: b2, depends_on: ~}
- wait: ~
  continue_on_failure: true
- {command: h}
"""
    waits = needs(text)
    assert waits["c"] == ["wait"]
    assert (waits["d"], waits["e"], waits["f"], waits["g"]) == (["a"], [], ["g?", "a"], [])
    assert waits["h"] == ["wait"]
    last = [one for one in steps(text) if one.kind is StepKind.WAIT][-1]
    assert set(last.waits_for) == set(last.tolerates) == {f"step {n}" for n in range(1, 9)}


def test_a_group_is_named_as_a_whole_and_gives_its_steps_what_it_depends_on() -> None:
    waits = needs("""
steps:
- {command: first, key: first}
- wait
- group: Tests
  key: tests
  depends_on: first
  steps:
  - {command: unit}
  - wait
  - {command: e2e, depends_on: other}
- {command: other, key: other}
- {command: ship, depends_on: tests}
""")
    assert waits["unit"] == ["first"]
    assert waits["e2e"] == ["first", "other"]
    assert waits["ship"] == ["unit", "wait", "e2e"]


def test_a_block_waits_and_is_waited_for_and_an_input_is_neither() -> None:
    every = parse_pipeline("""
steps:
- {command: a}
- input: Name?
- block: Go?
  fields:
  - {text: Name, key: name, default: blue}
  - {select: How, key: how, options: [{label: Slow, value: slow}]}
  - {text: Free, key: free}
- {command: b}
""")
    by_label = {one.step.label or one.step.command: one for one in every.steps}
    assert by_label["Go?"].step.kind is by_label["Name?"].step.kind is StepKind.BLOCK
    assert by_label["Go?"].step.waits_for == (by_label["a"].step.handle,)
    assert by_label["b"].step.waits_for == (by_label["Go?"].step.handle,)
    assert by_label["Name?"].step.waits_for == ()
    assert by_label["Go?"].fields == {"name": "blue", "how": "slow", "free": "demo"}


def test_parallel_jobs_know_their_number() -> None:
    made = steps("steps:\n- {command: rspec, label: Specs, parallelism: 3}\n")
    assert [one.shown_label for one in made] == ["Specs (1/3)", "Specs (2/3)", "Specs (3/3)"]
    assert [one.env["BUILDKITE_PARALLEL_JOB"] for one in made] == ["0", "1", "2"]
    assert {one.env["BUILDKITE_PARALLEL_JOB_COUNT"] for one in made} == {"3"}
    assert len({one.handle for one in made}) == 1
    assert [one.shown_label for one in steps("steps:\n- {command: a, label: S %N of %t, parallelism: 2}\n")] == [
        "S 1 of 2",
        "S 2 of 2",
    ]


def test_a_matrix_is_one_job_for_each_combination() -> None:
    made = steps("""
steps:
- command: test {{matrix.os}} {{ matrix.version }}
  label: On {{matrix.os}}
  env: {VERSION: "{{matrix.version}}"}
  agents: {class: "{{matrix.os}}"}
  matrix:
    setup: {os: [linux, mac], version: [1, 2]}
    adjustments:
    - {with: {os: mac, version: 2}, skip: too old}
    - {with: {os: bsd, version: 3}, soft_fail: true}
- {command: "lint {{matrix}}", matrix: [a, b]}
""")
    assert [one.command for one in made] == [
        "test linux 1", "test linux 2", "test mac 1", "test mac 2", "test bsd 3", "lint a", "lint b",
    ]  # fmt: skip
    assert [one.shown_label for one in made][:2] == ["On linux (1)", "On linux (2)"]
    assert [one.skip for one in made] == [None, None, None, "too old", None, None, None]
    assert [one.soft_fail for one in made] == [False, False, False, False, True, False, False]
    assert (made[1].env, made[1].agents) == ({"VERSION": "2"}, ("class=linux",))


@pytest.mark.parametrize(
    ("written", "rules"),
    [
        ("{automatic: true}", (RetryRule(limit=2),)),
        ("{automatic: false}", ()),
        ("{manual: false}", ()),
        ("{automatic: {limit: 3}}", (RetryRule(limit=3),)),
        ('{automatic: [{exit_status: "*"}]}', (RetryRule(limit=2),)),
        ("{automatic: [{exit_status: -1, limit: 1, signal_reason: agent_stop}, {exit_status: [1, 2]}]}",
         (RetryRule(limit=1, exit_statuses=(-1,), signal_reason="agent_stop"), RetryRule(exit_statuses=(1, 2)))),
    ],
)  # fmt: skip
def test_retries_in_every_form(written: str, rules: tuple[RetryRule, ...]) -> None:
    assert step(f"retry: {written}").retry == rules


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("[{exit_status: 1}, {exit_status: 42}]", (1, 42)),
        ('[{exit_status: "*"}]', True),
    ],
)
def test_soft_failures_in_every_form(written: str, value: object) -> None:
    assert step(f"soft_fail: {written}").soft_fail == value


def test_anchors_and_merges_hold() -> None:
    (made,) = steps("x: &common\n  priority: 7\n  env: {A: 1}\nsteps:\n- <<: *common\n  command: a\n  priority: 8\n")
    assert (made.priority, made.env) == (8, {"A": "1"})


def test_defaults_of_the_pipeline_hold_where_a_step_says_nothing() -> None:
    every = parse_pipeline(
        "agents: {queue: big}\npriority: 2\nsteps: [{command: a}, {command: b, agents: [queue=small], priority: 3}]"
    )
    assert [(one.step.stated_queue, one.step.priority) for one in every.steps] == [("big", 2), ("small", 3)]
    assert every.queues == ("big", "small")


def test_nothing_is_dropped_in_silence() -> None:
    text = """steps:
- command: a
  if: build.branch == "main"
  artifact_paths: out/*
  comand: b
  frobnicate: 3
- trigger: deploy
  build: {branch: main}
- input: Name?
- command: c
  plugins:
  - docker#v5.12.0: {image: golang}
- plugins: {ecr#v2.9.0: {login: true}}
notify: [{email: a@b.example}]
"""
    assert notes(text) == [
        (3, '`if: build.branch == "main"` is not evaluated: the step runs'),
        (4, "`artifact_paths: out/*` is not played: no artifact is uploaded"),
        (5, "`comand` is no key of a command step: it is ignored; do you mean `command`?"),
        (6, "`frobnicate` is no key of a command step: it is ignored"),
        (7, "`trigger` is not played: there is no other pipeline here; it counts as passed"),
        (9, "`input` releases itself after a moment"),
        (11, f"`plugins` skipped: docker#v5.12.0. {SET}"),
        (13, f"`plugins` skipped: ecr#v2.9.0. {SET}; this step has no command of its own, so its job does nothing"),
        (14, "`notify` is not played: nobody is notified"),
    ]  # fmt: skip


def test_a_real_agent_gets_the_plugins() -> None:
    text = "steps:\n- command: a\n  plugins: [docker#v5: {image: 'go:{{matrix}}'}]\n  matrix: [1]\n"
    assert notes(text, real_agent=True) == []
    (only,) = parse_pipeline(text, real_agent=True).steps
    assert only.step.env["BUILDKITE_PLUGINS"] == '[{"docker#v5": {"image": "go:1"}}]'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps:\n- command: [a", "line 2, column 14: not YAML: while parsing"),
        ("steps:\n- command: a\n  command: b\n", "line 3, column 3: not YAML: `command` stands twice"),
        ("step: []", "line 1: a pipeline has `steps`"),
        ("steps: []", "line 1: `steps` should be a list"),
        ("steps:\n- label: nothing\n", "line 2: this step has none of command"),
        ("steps:\n- command:\n", "line 2: this step has no command"),
        ("steps:\n- command: a\n  depends_on: [b]\n",
         "line 2: `depends_on` names b, which is no step's key. Keys: none"),
        ("steps:\n- {command: a, key: a}\n- {command: b, key: a}\n", "line 3: `key: a` is another step's already"),
        ("steps:\n- {command: a, key: a, depends_on: b}\n- {command: b, key: b, depends_on: a}\n",
         "line 2: these steps wait for each other for ever: those of lines 2, 3"),
        ("steps:\n- command: a\n  parallelism: 0\n", "line 3: `parallelism` should be at least 1"),
        ("steps:\n- command: a\n  parallelism: two\n", "line 3: `parallelism` should be a whole number"),
        ("steps:\n- command: a {{matrix.x}}\n  matrix: [1]\n",
         "line 3: the step names {{matrix.x}}, and the matrix has matrix"),
        ("steps:\n- {command: a, matrix: [1], parallelism: 2}\n", "line 2: `matrix` and `parallelism` in one step"),
        ("steps:\n- command: a\n  retry: {automatic: [{limit: 11}]}\n",
         "line 3: `retry` automatic: limit should be from 1 to 10"),
        ("steps:\n- command: a\n  env: [A=1]\n", "line 3: `env` should be a mapping"),
        ("steps:\n- command: a\n  env:\n    A: [1]\n", "line 3: `env` A should be a text"),
        ("steps:\n- command: a\n  concurrency: 1\n", "line 2: `concurrency` and `concurrency_group` go together"),
        ("steps:\n- group: a\n  steps:\n  - group: b\n    steps: [{command: c}]\n",
         "line 4: a group stands in a group"),
        ("steps:\n- command: a\n  demo:\n    expect: {exit_code: 3}\n", "line 4: `demo.expect"),
        ("steps:\n- command: a\n- wait\n- command: b\n  demo: {standby: true}\n",
         "line 5: `demo.standby` comes in a build"),
        ("steps:\n- 3\n", "line 2: a step should be a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(text: str, told: str, tmp_path: Path) -> None:
    said = refusal(text, tmp_path)
    assert said.startswith(told)
    assert "\n" not in said


_SCALARS = st.none() | st.booleans() | st.integers(-2, 60) | st.sampled_from(["", "a", "wait", "{{matrix}}", "*", "1"])
_KEYS = st.sampled_from([
    "command", "commands", "label", "key", "env", "agents", "depends_on", "soft_fail", "retry", "automatic", "matrix",
    "setup", "adjustments", "with", "parallelism", "plugins", "wait", "block", "fields", "options", "group", "steps",
    "demo", "expect", "skip", "trigger", "exit_status", "limit", "step", "type", "concurrency", "timeout_in_minutes",
])  # fmt: skip
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.dictionaries(_KEYS, _ANYTHING, max_size=5), max_size=3))
def test_whatever_stands_in_a_file_is_a_pipeline_or_a_mistake_with_its_line(document: list[object]) -> None:
    text = yaml.safe_dump({"steps": document})
    line = 1
    try:
        parse_pipeline(text)
    except Mistake as mistake:
        line = mistake.line
    assert 1 <= line <= text.count("\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=re.escape(f"{tmp_path}/none.yml: cannot be read: No such file")):
        read_pipeline(tmp_path / "none.yml")


def test_the_demos_own_pipeline_says_what_must_come_of_each_job() -> None:
    demos = [one.demo for one in read_pipeline(SCRIPTS / "demo-pipeline.yml").steps]
    assert [demo.cancel for demo in demos if demo.cancel] == [Cancel.BOOTING, Cancel.RUNNING]
    assert [demo.expect for demo in demos if demo.expect] == [Ran(exit_status=3), "unmatched", Ran(log_lines=20_000)]
    assert sum(demo.standby for demo in demos) == 1


def test_what_is_pretended_prints_its_command_and_keeps_its_shape() -> None:
    real: Pipeline = read_pipeline(SCRIPTS / "demo-monorepo.yml")
    shape = pretended(real)
    assert [one.step.waits_for for one in shape.steps] == [one.step.waits_for for one in real.steps]
    assert [one.step.shown_label for one in shape.steps] == [one.step.shown_label for one in real.steps]
    commands = [one.step.command for one in shape.steps if one.step.kind is StepKind.COMMAND]
    assert all(re.match(r"printf '%s\\n' .*; sleep [1-4]$", command, re.DOTALL) for command in commands)
