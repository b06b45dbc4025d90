"""The verbs of `agent-stack` and their help. What each does is in a module of its own."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from agent_stack_cli import (
    connect,
    costs,
    doctor,
    drain,
    idle_costs,
    images_verb,
    job_page,
    jobs,
    migration_verb,
    oidc_verb,
    params,
    pauses,
    policy,
    status,
    status_page,
)
from agent_stack_cli.class_checks import image_parameters
from agent_stack_cli.class_verbs import classes_app
from agent_stack_cli.errors import PROGRAM, CliError, read_text
from agent_stack_cli.parameter_findings import of_file
from agent_stack_cli.simulation import app as simulation
from agent_stack_cli.stacks import names
from agent_stack_cli.verbs import Call, Verbs, verb

app = typer.Typer(
    name="agent-stack",
    cls=Verbs,
    help="Runs and explains an agent-stack-ec2 deployment, with your own AWS credentials.",
    epilog="Exit status: 0 done, 1 something is wrong (the text says what to run next), 2 wrong usage.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.add_typer(classes_app, name="classes")
oidc_verb.add(app)
images_verb.add(app)

JobArgument = Annotated[
    str, typer.Argument(help="A job id, the URL of a job's page, or the URL of a build with one job.")
]
QueueOption = Annotated[str | None, typer.Option("--queue", help="Only this queue; else all queues of the stack.")]
A_JOB = "01907d1e-7a3c-4c8e-9d0a-0242ac120002"


@verb(app, "stacks", "agent-stack stacks --region eu-central-1", of_stack=False)
def stacks_verb(call: Call) -> None:
    """List the stacks of this project in this account and region, found by their tag."""
    found = names(call.session)
    if call.output.as_json:
        call.output.json(found)
        return
    for name in found:
        call.output.line(name)
    if not found:
        raise CliError(f"no stack of this project is in {call.session.region}", next="name another region: --region")


@verb(app, "status", "agent-stack status", "agent-stack status --watch", "agent-stack status --json | jq .vms")
def status_verb(
    call: Call,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", min=1, max=86_400, help="With --watch: seconds between two readings.")
    ] = 5.0,
    times: Annotated[int, typer.Option("--times", min=0, help="With --watch: how often; 0 for ever.")] = 0,
) -> None:
    """Show queues, waiting jobs and why, VMs, jobs, budgets, what EC2 refuses, and the last errors."""
    shown = 0
    while True:
        seen = status.read(call.stack)
        if watch and call.output.console.is_terminal and not call.output.as_json:
            call.output.console.clear()
        status_page.show(seen, call.stack, call.output)
        shown += 1
        if not watch or shown == times:
            return
        sys.stdout.flush()
        time.sleep(every)
        call = call.again()


@verb(app, "doctor", "agent-stack doctor", "agent-stack doctor --parameters ci.parameters")
def doctor_verb(
    call: Call,
    *,
    parameters: Annotated[
        Path | None, typer.Option("--parameters", help="Before a first deployment: a file of Name=value lines.")
    ] = None,
) -> None:
    """Find what is wrong, what happens because of it, and what to do. Changes nothing."""
    if parameters is not None:
        text = read_text(parameters, next=f"name a file of Name=value lines: {PROGRAM} doctor --parameters FILE")
        found, of = of_file(call.session, text), f"{parameters} in {call.session.region}"
    else:
        found, of = doctor.examine(call.stack), call.stack.name
    doctor.show(found, call.output, of=of)
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(1)


@verb(app, "job", f"agent-stack job {A_JOB}", f"agent-stack job 'https://buildkite.com/acme/app/builds/42#{A_JOB}'")
def job_verb(call: Call, *, job: JobArgument) -> None:
    """Show the history of one job: its steps and their seconds, every decision and why, its VM, its logs."""
    job_page.show(jobs.read(call.stack, jobs.one_job(call.stack, job)), call.output)


@verb(app, "logs", "agent-stack logs JOB", "agent-stack logs JOB --vm")
def logs_verb(
    call: Call,
    *,
    job: JobArgument,
    vm: Annotated[bool, typer.Option("--vm", help="Only what the VM's boot program and agent wrote.")] = False,
) -> None:
    """Print what both functions and the VM logged about a job, in order of time."""
    found = connect.logs_of(call.stack, jobs.one_job(call.stack, job), only_vm=vm)
    if call.output.as_json:
        call.output.json(found)
        return
    for line in found:
        facts = f" {line.said}" if line.facts else ""
        call.output.line(
            f"{line.at:%Y-%m-%dT%H:%M:%SZ} {line.function} {line.level} {line.message}{facts}".replace("  ", " ")
        )


@verb(app, "connect", "agent-stack connect JOB", "agent-stack connect i-0123456789abcdef0 --print")
def connect_verb(
    call: Call,
    *,
    job: Annotated[
        str,
        typer.Argument(help="A job id, the URL of a job's page, the URL of a build with one job, or an instance id."),
    ],
    only_print: Annotated[bool, typer.Option("--print", help="Print the command, and do not run it.")] = False,
) -> None:
    """Open a shell on a VM through Session Manager: a job's, or one by its id. The VMs need SessionManager=true."""
    words = connect.command_for(call.stack, job)
    connect.run(words, call.output, only_print=only_print)


@verb(app, "pause", "agent-stack pause --reason 'AMI is broken'", "agent-stack pause --queue linux")
def pause_verb(
    call: Call,
    *,
    queue: QueueOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; the build pages of waiting jobs show it.")] = "",
) -> None:
    """Launch nothing more, within five seconds. Jobs that run go on; a deployment does not end the pause."""
    pauses.show(pauses.pause(call.stack, queue=queue, reason=reason), call.stack, call.output)


@verb(app, "resume", "agent-stack resume", "agent-stack resume --queue linux")
def resume_verb(call: Call, *, queue: QueueOption = None) -> None:
    """End a pause. Launch deadlines of waiting jobs begin again."""
    pauses.show(pauses.resume(call.stack, queue=queue), call.stack, call.output)


@verb(app, "drain", "agent-stack drain", "agent-stack drain --queue linux --minutes 90")
def drain_verb(
    call: Call,
    *,
    queue: QueueOption = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0, max=100_000, help="How long to wait at most.")] = 120.0,
) -> None:
    """Pause, and wait until no VM is left; with --queue, until no VM has a job of that queue.

    VMs go on with their jobs; each ends after its own.
    """
    drained = drain.drain(call.stack, queue=queue, at_most_seconds=minutes * 60, output=call.output, sleep=time.sleep)
    if not drained:
        raise typer.Exit(1)


@verb(app, "params", "agent-stack params", "agent-stack params AgentVersion VpcId")
def params_verb(
    call: Call, *, parameters: Annotated[list[str] | None, typer.Argument(help="Names; else all.")] = None
) -> None:
    """List the template's parameters, their values, and what a change affects: at once, new VMs, or replaces."""
    params.show(params.read(call.stack, parameters or []), call.stack, call.output)


@verb(app, "policy", "agent-stack policy read", "agent-stack policy operate > operate.json")
def policy_verb(call: Call, *, kind: Annotated[policy.Kind, typer.Argument(help="What the role may do.")]) -> None:
    """Print an IAM policy as JSON: read; operate adds pause, resume and images use; classes adds push and connect."""
    call.output.json(policy.document(call.stack, kind, images=image_parameters(call.stack)))


@verb(
    app, "cost", "agent-stack cost", "agent-stack cost --by pipeline --days 30",
    "agent-stack cost --by build --csv > builds.csv", "agent-stack cost --price c7i.2xlarge=0.38",
    "agent-stack cost --idle",
)  # fmt: skip
def cost_verb(
    call: Call,
    *,
    by: Annotated[str, typer.Option("--by", help="class, queue, pipeline, build or day.")] = "class",
    days: Annotated[
        float, typer.Option("--days", min=0, max=36_500, help="Of jobs that ended in the last days.")
    ] = 7.0,
    price: Annotated[list[str] | None, typer.Option("--price", help="TYPE=USD an hour, over the list.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="For spreadsheets.")] = False,
    idle: Annotated[bool, typer.Option("--idle", help="What the stack costs in a month without a job.")] = False,
) -> None:
    """Sum what jobs' VMs cost, from the ledger's records (HistoryDays) and dated list prices."""
    if idle:
        idle_costs.show(call.stack, call.output)
        return
    found = costs.read(call.stack, by=by, days=days, own_prices=price or [])
    if as_csv:
        sys.stdout.write(costs.as_csv(found))
    else:
        costs.show(found, call.output)


@verb(
    app, "migrate", "agent-stack migrate elastic-parameters.json",
    "agent-stack migrate --from-stack buildkite --output migrated --stack-key ci",
    "aws cloudformation describe-stacks --stack-name buildkite | agent-stack migrate -",
    of_stack=False,
)  # fmt: skip
def migrate_verb(
    call: Call,
    *,
    file: Annotated[
        Path | None, typer.Argument(help="Parameters of an Elastic CI Stack, JSON or YAML; - to pipe.")
    ] = None,
    from_stack: Annotated[str | None, typer.Option("--from-stack", help="The live stack instead of a file.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The directory to write to.")] = Path("migrated"),
    stack_key: Annotated[
        str | None, typer.Option("--stack-key", help="StackKey of the new stack; else the queue.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Turn an Elastic CI Stack's parameters into a parameter file, a class document and a report.

    Changes nothing in AWS, and reads it with --from-stack only.
    """
    migration_verb.run(call, file=file, from_stack=from_stack, directory=output, key=stack_key, force=force)


simulation.add_to(app)
