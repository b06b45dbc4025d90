"""The jobs of one command step: one, one for each combination of its matrix, or one for each parallel job."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.simulator.buildkite import Step
from tests.simulator.demo import values
from tests.simulator.demo.matrix import Combination, combinations
from tests.simulator.demo.written import Mistake, Written

_ESCAPED = re.compile(r"(?:\$|\\)\$(?=[A-Za-z_{(])")


def jobs_of(
    written: Written, step: Step, *, env: Mapping[str, str], agents: Sequence[str], real_agent: bool
) -> list[Step]:
    """One for each combination of its matrix, or for each of its parallel jobs, or one."""
    command = written.take("command", values.commands, "", "commands", "script")
    label = written.take("label", values.text, "", "name")
    own = written.take("env", values.env, {})
    rules = written.take("agents", values.rules, tuple(agents))
    plugins = _plugins(written, command, real_agent=real_agent)
    parallelism = written.take("parallelism", values.at_least(1), 1)
    matrix = written.take("matrix", combinations, (Combination(values={}, plain=True),))
    if "matrix" in written and "parallelism" in written:
        raise Mistake(written.line("matrix"), "`matrix` and `parallelism` in one step: Buildkite refuses both together")
    jobs = []
    for combination in matrix:
        try:
            filled = combination.filled([command, label, own, list(rules), plugins])
        except ValueError as error:
            raise Mistake(written.line("matrix"), f"the step {error}") from None
        its_command, its_label, its_env, its_rules, its_plugins = filled
        more = {"BUILDKITE_PLUGINS": json.dumps(its_plugins)} if its_plugins else {}
        one = replace(
            step,
            command=_unescaped(its_command) or "true",
            label=its_label,
            env={**env, **{name: _unescaped(value) for name, value in its_env.items()}, **more},
            agents=tuple(its_rules),
            badge=", ".join(value for value in combination.values.values() if value not in its_label),
            skip=combination.skip or step.skip,
            soft_fail=step.soft_fail if combination.soft_fail is None else combination.soft_fail,
        )
        jobs += _in_parallel(one, parallelism)
    return jobs


def _plugins(written: Written, command: str, *, real_agent: bool) -> Any:  # noqa: ANN401
    """As the agent reads them; nothing where none can run them."""
    plugins = written.take("plugins", values.plugins, None)
    if plugins is None and not command:
        raise Mistake(written.line("command"), "this step has no command")
    if real_agent or not plugins:
        return plugins
    named = ", ".join(one if isinstance(one, str) else ", ".join(one) for one in plugins)
    without = "" if command else "; this step has no command of its own, so its job does nothing"
    written.note("plugins", f"skipped: {named}. Set BUILDKITE_AGENT_BINARY to run them{without}")
    return None


def _in_parallel(step: Step, count: int) -> list[Step]:
    if count == 1:
        return [step]
    jobs = []
    for index in range(count):
        label = step.label
        for place, value in (("%n", index), ("%N", index + 1), ("%t", count)):
            label = label.replace(place, str(value))
        env = {**step.env, "BUILDKITE_PARALLEL_JOB": str(index), "BUILDKITE_PARALLEL_JOB_COUNT": str(count)}
        badge = f"{index + 1}/{count}" if label == step.label else ""
        jobs.append(replace(step, label=label, badge=badge, env=env))
    return jobs


def _unescaped(text: str) -> str:
    r"""`$$NAME` and `\$NAME` as the job's shell must see them; a pipeline upload does the same."""
    return _ESCAPED.sub("$", text)
