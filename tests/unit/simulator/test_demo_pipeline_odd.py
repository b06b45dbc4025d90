"""Odd pipeline files: each is played, or refused in one line with its place; nothing in them is dropped in silence."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.demo.pipeline import parse_pipeline
from tests.simulator.demo.written import Mistake
from tests.simulator.demo.yaml_lines import YamlError
from tests.unit.simulator.test_demo_pipeline import SET, needs, notes, refusal, step

STEP = "steps:\n- command: a\n"


@pytest.mark.parametrize("real_agent", [False, True])
@pytest.mark.parametrize("plugins", ["[3]", "\n  -", "[[docker#v5]]", "[docker#v5: {}, ~]", "docker#v5"])
def test_a_plugin_is_a_name_or_a_name_with_its_settings(plugins: str, *, real_agent: bool) -> None:
    with pytest.raises(Mistake, match=r"`plugins` should be a list of plugins, each a name or .* such as") as refused:
        parse_pipeline(f"{STEP}  plugins: {plugins}\n", real_agent=real_agent)
    assert refused.value.line == 3


def test_plugins_in_one_mapping_are_plugins_of_their_own() -> None:
    text = f"{STEP}  plugins: [{{docker#v5: ~, ecr#v2: {{login: true}}}}, cache#v1, {{}}]\n"
    assert notes(text) == [(3, f"`plugins` skipped: docker#v5, ecr#v2, cache#v1. {SET}")]
    (only,) = parse_pipeline(text, real_agent=True).steps
    assert only.step.env["BUILDKITE_PLUGINS"] == '[{"docker#v5": null}, {"ecr#v2": {"login": true}}, "cache#v1"]'


@pytest.mark.parametrize("plugins", ["[docker#v5]", "[docker#v5: ~]", "{docker#v5: {image: a}}"])
def test_a_plugin_in_every_form_is_named(plugins: str) -> None:
    assert notes(f"{STEP}  plugins: {plugins}\n") == [(3, f"`plugins` skipped: docker#v5. {SET}")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{STEP}  env: {{A: {'9' * 5000}}}\n", "line 3, column 12: not YAML: "),
        ("steps:\n- command: a\n- command: \x1b[1m\n", "line 3, column 12: not YAML: "),
        ("steps:\n\n- command: a\0\n", "line 3, column 13: not YAML: "),
        (f"{STEP}  depends_on: step 1\n", "line 2: `depends_on` names step 1, which is no step's key. Keys: none"),
        (f"{STEP}  depends_on: [{{step: step 9}}]\n", "line 2: `depends_on` names step 9, which is no step's key"),
        (f"{STEP}  concurrency: 0\n  concurrency_group: g\n", "line 3: `concurrency` should be at least 1"),
        (f"{STEP}  timeout_in_minutes: -5\n", "line 3: `timeout_in_minutes` should be at least 0"),
        (f"{STEP}  parallelism: -1\n", "line 3: `parallelism` should be at least 1"),
    ],
)  # fmt: skip
def test_an_odd_value_is_one_line_with_its_place(text: str, told: str, tmp_path: Path) -> None:
    said = refusal(text, tmp_path)
    assert said.startswith(told)
    assert "\n" not in said
    assert len(said) < 300


def test_a_text_of_several_lines_is_one_line_of_what_is_said() -> None:
    written = "if: |\n    build.branch == 'main' &&\n    build.tag == null\n  artifact_paths: |\n    a\n    b\n"
    assert notes(f'{STEP}  {written}  "x\\ny": 2\n') == [
        (3, "`if: build.branch == 'main' && build.tag == null` is not evaluated: the step runs"),
        (6, "`artifact_paths: a b` is not played: no artifact is uploaded"),
        (9, "`x y` is no key of a command step: it is ignored"),
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("command", "commands"), ("label", "name"), ("key", "id"), ("key", "identifier")]
)
def test_two_names_of_one_key_are_said(one: str, other: str) -> None:
    text = f"steps:\n- plugins: [a#v1]\n  {one}: b\n  {other}: c\n"
    assert (4, f"`{other}` is not used, because it is another name of `{one}`; leave one of them") in notes(text)


def test_a_key_may_look_like_any_word() -> None:
    assert needs("steps:\n- {command: a, key: step}\n- {command: b, depends_on: step}\n")["b"] == ["a"]
    assert step("priority: -3").priority == -3


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_any_text_is_yaml_or_not_yaml(text: str) -> None:
    told: list[YamlError | Mistake] = []
    try:
        parse_pipeline(f"steps:\n- command: a\n  label: {text}\n")
    except (YamlError, Mistake) as error:
        told.append(error)
    assert all(one.line is not None and "\n" not in str(one) for one in told)
