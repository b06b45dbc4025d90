"""What the demo deploys and runs, by its arguments: the demo's own classes, the operator's, or those of a migration."""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from agent_stack_cli.app import app
from agent_stack_cli.migration.files import CLASSES as CLASSES_FILE
from agent_stack_cli.parameter_rules import read_file
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.demo.own_parameters import ParametersError, one_job_for_each, own_parameters
from tests.simulator.demo.pipeline import Pipeline, parse_pipeline, read_pipeline
from tests.simulator.demo.pretend import pretended
from tests.simulator.world import Plan

PIPELINE = Path(__file__).resolve().parents[3] / "scripts" / "demo-pipeline.yml"
SHAPE = {
    "instance_types": ["m7i.large", "m7a.large"],
    "image": "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
    "root_device": "/dev/xvda",
    "volume_gib": 40,
}
CLASSES = json.dumps(
    {"classes": {"default": SHAPE, "hot": {**SHAPE, "standby": {"hot": 1}}}, "default_class": "default"}
)
SCHEDULE_SECONDS = 2.5
"""A boot takes five seconds here, and a tracker that looked before the first job drops events for fifteen."""

DEFAULT_QUEUE = BuildkiteSettings().default_queue
ALIASES = BuildkiteSettings().default_queue_aliases

BREAKS: Mapping[str, Mapping[str, str | None]] = {
    "token": {"token": None},
    "buildkite": {"endpoint": "http://127.0.0.1:9/v3"},
    "classes": {"classes": '{"classes": {"default": {"instance_types": []}}, "default_class": "default"}'},
}
"""What an operator may get wrong, to see how that looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One demo before it begins.

    Attributes:
        queues: their keys at Buildkite.
        name: of the pipeline.
        said: what a person should know before: what is played otherwise.
    """

    pipeline: Pipeline
    plan: Plan
    queues: tuple[str, ...]
    name: str
    said: tuple[str, ...]


def prepared(arguments: argparse.Namespace) -> Prepared:
    """Read the files that the arguments name.

    Raises:
        OSError: a file cannot be read.
        ParametersError: the parameters, or what is to be migrated, cannot be used.
        PipelineError: the pipeline cannot.
    """
    with _files(arguments) as (parameters, classes, said):
        given = _read(parameters) if parameters else {}
        document = classes.read_text() if classes else CLASSES
    mine = own_parameters(given)
    own = bool(given) and arguments.pipeline is None
    pipeline = _pipeline(arguments) if not own else parse_pipeline(one_job_for_each(mine.queues, document))
    queues = tuple(dict.fromkeys((*mine.queues, *pipeline.queues)))
    keys = tuple(DEFAULT_QUEUE if queue in ALIASES else queue for queue in queues)
    changed = {**mine.deployed, "Queues": ",".join(queues)}
    added = [f"Queues={','.join(queues)}, because the pipeline names more"] if given and queues != mine.queues else []
    plan = Plan(
        schedule_seconds=SCHEDULE_SECONDS,
        parameters=changed,
        objects=mine.objects,
        buildkite=BuildkiteSettings(default_queue=keys[0]),
        **{"classes": document, **BREAKS.get(arguments.broken, {})},  # type: ignore[arg-type]  # the plan's own fields
    )
    name = "a job for each class and queue" if own else (arguments.pipeline or PIPELINE).name
    not_played = [f"not deployed here: {note}" for note in mine.notes]
    return Prepared(pipeline=pipeline, plan=plan, queues=keys, name=name, said=(*said, *not_played, *added))


@contextmanager
def _files(arguments: argparse.Namespace) -> Iterator[tuple[Path | None, Path | None, tuple[str, ...]]]:
    """The parameter file, the class document, and what a person should know of them."""
    if arguments.migrate is None:
        yield arguments.parameters, arguments.classes, ()
        return
    with tempfile.TemporaryDirectory() as directory:
        said, parameters = migrated(arguments.migrate, Path(directory))
        yield parameters, arguments.classes or Path(directory) / CLASSES_FILE, said


def migrated(source: Path, directory: Path) -> tuple[tuple[str, ...], Path]:
    """Run `agent-stack migrate` with that file: what it says in short, and the parameter file that it wrote.

    Raises:
        ParametersError: it refuses.
    """
    done = CliRunner().invoke(app, ["migrate", str(source), "--output", str(directory), "--json"])
    if done.exit_code != 0:
        raise ParametersError(done.stderr.strip())
    seen = json.loads(done.stdout)
    parameters = Path(seen["files"][0])
    todo = f"agent-stack migrate lists what you have to do: {len(seen['to_do'])} points"
    return (
        f"Migrated {source.name}: {len(seen['parameters'])} parameters, {_classes(seen['classes'])}; {todo}",
    ), parameters


def _classes(document: Mapping[str, Mapping[str, object]]) -> str:
    return f"the classes {', '.join(document['classes'])}"


def _read(parameters: Path) -> dict[str, str]:
    try:
        return read_file(parameters.read_text())
    except ValueError as error:
        raise ParametersError(f"{parameters}: {error}") from None


def _pipeline(arguments: argparse.Namespace) -> Pipeline:
    pipeline = read_pipeline(arguments.pipeline or PIPELINE, real_agent=bool(os.environ.get("BUILDKITE_AGENT_BINARY")))
    return pretended(pipeline) if arguments.pretend else pipeline
