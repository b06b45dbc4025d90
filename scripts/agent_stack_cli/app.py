"""The verbs of `agent-stack`, their options and their help. What each does is in a module of its own."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agent_stack.domain.classes import Unmatched
from agent_stack.domain.identifiers import QueueKey
from agent_stack_cli import (
    classes,
    connect,
    costs,
    doctor,
    drain,
    idle_costs,
    job_page,
    jobs,
    params,
    pauses,
    policy,
    status,
    status_page,
)
from agent_stack_cli.errors import CliError, translated
from agent_stack_cli.output import Output, clean
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack, find, names

EPILOG = "Exit status: 0 done, 1 something is wrong (the text says what to run next), 2 wrong usage."


class Verbs(TyperGroup):
    """Shows every expected failure as one line and the command that helps next."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  (the vendored context; whatever a verb returns)
        """See `click.Group`."""
        try:
            with translated():
                return super().invoke(ctx)
        except CliError as error:
            sys.stderr.write(f"agent-stack: {clean(error.message)}\nNext: {clean(error.next)}\n")
            raise typer.Exit(1) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has seen enough
            raise typer.Exit(0) from None


app = typer.Typer(
    name="agent-stack",
    cls=Verbs,
    help="Runs and explains an agent-stack-ec2 deployment, with your own AWS credentials.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

StackOption = Annotated[
    str | None,
    typer.Option("--stack", "-s", envvar="AGENT_STACK", help="The CloudFormation stack; else the only one here."),
]
RegionOption = Annotated[str | None, typer.Option("--region", help="Where it is; else as the AWS CLI finds it.")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="The AWS profile; else as the AWS CLI finds it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
JobArgument = Annotated[str, typer.Argument(help="A job id, or the URL of its page at Buildkite.")]
QueueOption = Annotated[str | None, typer.Option("--queue", help="Only this queue; else all queues of the stack.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the options of every verb give."""

    session: Session
    stack: Stack
    output: Output


def called(stack: str | None, region: str | None, profile: str | None, as_json: bool) -> Call:  # noqa: FBT001  (an option)
    """The stack that the options name.

    Raises:
        CliError: see `find`.
    """
    session = Session(region=region, profile=profile)
    return Call(session=session, stack=find(session, stack), output=Output(as_json=as_json))


def example(*lines_: str) -> str:
    """Examples at the end of a verb's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines_)


@app.command("stacks", epilog=example("agent-stack stacks --region eu-central-1"))
def stacks_verb(region: RegionOption = None, profile: ProfileOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002  (an option)
    """List the stacks of this project in this account and region, found by their tag."""
    session, output = Session(region=region, profile=profile), Output(as_json=as_json)
    found = names(session)
    if as_json:
        output.json(found)
        return
    for name in found:
        output.line(name)
    if not found:
        raise CliError(f"no stack of this project is in {session.region}", next="name another region: --region")


@app.command(
    "status", epilog=example("agent-stack status", "agent-stack status --watch", "agent-stack status --json | jq .vms")
)
def status_verb(
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C.")] = False,  # noqa: FBT002  (an option)
    every: Annotated[float, typer.Option("--every", min=1, help="With --watch: seconds between two looks.")] = 5.0,
    times: Annotated[int, typer.Option("--times", min=0, help="With --watch: how often; 0 for ever.")] = 0,
) -> None:
    """Show queues, waiting jobs and why, VMs, jobs, budgets, what EC2 refuses, and the last errors."""
    call = called(stack, region, profile, as_json)
    shown = 0
    while True:
        seen = status.read(call.stack)
        if watch and call.output.console.is_terminal and not as_json:
            call.output.console.clear()
        status_page.show(seen, call.output)
        shown += 1
        if not watch or shown == times:
            return
        sys.stdout.flush()
        time.sleep(every)
        call = called(call.stack.name, region, profile, as_json)


@app.command("doctor", epilog=example("agent-stack doctor", "agent-stack doctor --parameters ci.parameters"))
def doctor_verb(
    parameters: Annotated[
        Path | None, typer.Option("--parameters", help="Before a first deployment: a file of Name=value lines.")
    ] = None,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Find what is wrong, what happens because of it, and what to do. Changes nothing."""
    if parameters is not None:
        session, output = Session(region=region, profile=profile), Output(as_json=as_json)
        found, of = doctor.of_file(session, classes.read_file(parameters)), f"{parameters} in {session.region}"
    else:
        call = called(stack, region, profile, as_json)
        found, of, output = doctor.examine(call.stack), call.stack.name, call.output
    doctor.show(found, output, of=of)
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(1)


@app.command("job", epilog=example(
    "agent-stack job 01907d1e-7a3c-4c8e-9d0a-0242ac120002",
    "agent-stack job 'https://buildkite.com/acme/app/builds/42#01907d1e-7a3c-4c8e-9d0a-0242ac120002'",
))  # fmt: skip
def job_verb(
    job: JobArgument,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Tell one job's story: its steps and their seconds, every decision and why, its VM, its logs."""
    call = called(stack, region, profile, as_json)
    job_page.show(jobs.read(call.stack, jobs.one_job(call.stack, job)), call.output)


@app.command("logs", epilog=example("agent-stack logs JOB", "agent-stack logs JOB --vm"))
def logs_verb(
    job: JobArgument,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
    vm: Annotated[bool, typer.Option("--vm", help="Only what the VM's boot program and agent wrote.")] = False,  # noqa: FBT002  (an option)
) -> None:
    """Print what both functions and the VM logged about a job, in order of time."""
    call = called(stack, region, profile, as_json)
    found = connect.logs_of(call.stack, jobs.one_job(call.stack, job), only_vm=vm)
    if as_json:
        call.output.json(found)
        return
    for line in found:
        facts = f" {line.said}" if line.facts else ""
        call.output.line(
            f"{line.at:%Y-%m-%dT%H:%M:%SZ} {line.function} {line.level} {line.message}{facts}".replace("  ", " ")
        )


@app.command("connect", epilog=example("agent-stack connect JOB", "agent-stack connect JOB --print"))
def connect_verb(
    job: JobArgument,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
    only_print: Annotated[bool, typer.Option("--print", help="Print the command, and do not run it.")] = False,  # noqa: FBT002  (an option)
) -> None:
    """Open a shell on a job's VM through Session Manager. The VMs need SessionManager=true."""
    call = called(stack, region, profile, as_json)
    words = connect.command_for(call.stack, jobs.one_job(call.stack, job), profile=profile)
    connect.run(words, call.output, only_print=only_print)


@app.command("pause", epilog=example("agent-stack pause --reason 'AMI is broken'", "agent-stack pause --queue linux"))
def pause_verb(
    stack: StackOption = None,
    queue: QueueOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; the build pages of waiting jobs show it.")] = "",
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Launch nothing more, within five seconds. Jobs that run go on; a deployment does not end the pause."""
    call = called(stack, region, profile, as_json)
    pauses.show(pauses.pause(call.stack, queue=queue, reason=reason), call.output)


@app.command("resume", epilog=example("agent-stack resume", "agent-stack resume --queue linux"))
def resume_verb(
    stack: StackOption = None,
    queue: QueueOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """End a pause. Launch deadlines of waiting jobs begin anew."""
    call = called(stack, region, profile, as_json)
    pauses.show(pauses.resume(call.stack, queue=queue), call.output)


@app.command("drain", epilog=example("agent-stack drain", "agent-stack drain --queue linux --minutes 90"))
def drain_verb(
    stack: StackOption = None,
    queue: QueueOption = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="How long to wait at most.")] = 120.0,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Pause, and wait until no VM runs a job any more. VMs go on with their jobs; each ends after its own."""
    call = called(stack, region, profile, as_json)
    drained = drain.drain(call.stack, queue=queue, at_most_seconds=minutes * 60, output=call.output, sleep=time.sleep)
    if not drained:
        raise typer.Exit(1)


@app.command("params", epilog=example("agent-stack params", "agent-stack params AgentVersion VpcId"))
def params_verb(
    parameters: Annotated[list[str] | None, typer.Argument(help="Names; else all.")] = None,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """List the template's parameters, their values, and what a change affects: at once, new VMs, or replaces."""
    call = called(stack, region, profile, as_json)
    params.show(params.read(call.stack.parameters, parameters or []), call.stack, call.output)


@app.command("policy", epilog=example("agent-stack policy read", "agent-stack policy operate > operate.json"))
def policy_verb(
    kind: Annotated[policy.Kind, typer.Argument(help="What the role may do.")],
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: ARG001, FBT002  (it is JSON in any case)
) -> None:
    """Print an IAM policy: read; operate, which adds pause and resume; classes, which adds push and connect."""
    call = called(stack, region, profile, as_json=True)
    call.output.json(policy.document(call.stack, kind))


@app.command("cost", epilog=example(
    "agent-stack cost", "agent-stack cost --by pipeline --days 30", "agent-stack cost --by build --csv > builds.csv",
    "agent-stack cost --price c7i.2xlarge=0.38", "agent-stack cost --idle",
))  # fmt: skip
def cost_verb(  # noqa: PLR0917  (options of a command, not arguments)
    by: Annotated[str, typer.Option("--by", help="class, queue, pipeline, build or day.")] = "class",
    days: Annotated[float, typer.Option("--days", min=0, help="Of jobs that ended in the last days.")] = 7.0,
    price: Annotated[list[str] | None, typer.Option("--price", help="TYPE=USD an hour, over the list.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="For spreadsheets.")] = False,  # noqa: FBT002  (an option)
    idle: Annotated[bool, typer.Option("--idle", help="What the stack costs in a month without a job.")] = False,  # noqa: FBT002  (an option)
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Sum what jobs' VMs cost, from the ledger's records (HistoryDays) and dated list prices."""
    call = called(stack, region, profile, as_json)
    if idle:
        idle_costs.show(call.stack, call.output)
        return
    found = costs.read(call.stack, by=by, days=days, own_prices=price or [])
    if as_csv:
        sys.stdout.write(costs.as_csv(found))
    else:
        costs.show(found, call.output)


classes_app = typer.Typer(help="Check, compare, write and explain the class document.", no_args_is_help=True)
app.add_typer(classes_app, name="classes")
FileArgument = Annotated[Path | None, typer.Argument(help="A class document; else the one in force.")]


def _document(stack: Stack, path: Path | None) -> tuple[str, str]:
    """The name and the text of the document in that file, or of the one in force."""
    return classes.deployed_text(stack) if path is None else (str(path), classes.read_file(path))


@classes_app.command("validate", epilog=example("agent-stack classes validate classes.json"))
def validate_verb(
    file: FileArgument = None,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Check a class document against this account, its region and the stack's settings."""
    call = called(stack, region, profile, as_json)
    name, text = _document(call.stack, file)
    found = classes.validate(call.stack, text, name)
    if as_json:
        call.output.json(found)
    for finding in found if not as_json else ():
        call.output.line(
            f"class {finding.vm_class}: {finding.problem}" if finding.vm_class else finding.problem, "error"
        )
    if found:
        raise typer.Exit(1)
    if not as_json:
        call.output.line(f"{name}: every class can be launched here.", "ok")


@classes_app.command("diff", epilog=example("agent-stack classes diff classes.json"))
def diff_verb(
    file: Annotated[Path, typer.Argument(help="A class document.")],
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Show what a class document changes in the one in force. Exit status 0 in both cases."""
    call = called(stack, region, profile, as_json)
    found = classes.differences(call.stack, classes.read_file(file))
    if as_json:
        call.output.json(found)
        return
    for line in found or ["They mean the same."]:
        call.output.line(line, "ok" if line.startswith("+") else "error" if line.startswith("-") else "")


@classes_app.command("push", epilog=example("agent-stack classes push classes.json"))
def push_verb(
    file: Annotated[Path, typer.Argument(help="A class document.")],
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Check a class document and write it into the stack's parameter. It is in force within a minute."""
    call = called(stack, region, profile, as_json)
    text = classes.read_file(file)
    if found := classes.validate(call.stack, text, str(file)):
        of = f"class {found[0].vm_class}: " if found[0].vm_class else ""
        raise CliError(
            f"not written, for {len(found)} problems; the first: {of}{found[0].problem}",
            next=f"agent-stack classes validate {file}",
        )
    done = classes.push(call.stack, text)
    if as_json:
        call.output.json(done)
    elif done.version is None:
        call.output.line(f"{done.parameter} holds this document already.")
    else:
        call.output.line(
            f"{done.parameter} is now version {done.version} ({done.tier}). In force within a minute.", "ok"
        )


@classes_app.command("explain", epilog=example(
    "agent-stack classes explain class=large", "agent-stack classes explain --queue linux class=large gpu=a100",
))  # fmt: skip
def explain_verb(
    rules: Annotated[list[str] | None, typer.Argument(help="A job's agent query rules, such as class=large.")] = None,
    queue: QueueOption = None,
    file: Annotated[Path | None, typer.Option("--file", help="A class document; else the one in force.")] = None,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,  # noqa: FBT002  (an option)
) -> None:
    """Say which class a job with these agent query rules gets, or why none fits."""
    call = called(stack, region, profile, as_json)
    name, text = _document(call.stack, file)
    book = classes.book_of(call.stack, text, name)
    match = classes.explain(book, rules or [], QueueKey(queue or call.stack.queues[0]))
    if as_json:
        call.output.json(match)
    elif isinstance(match, Unmatched):
        call.output.line(match.reason, "warning")
    else:
        call.output.line(f"class {match.name}: {', '.join(match.instance_types)}, {match.capacity_type}, {match.image}")
    if isinstance(match, Unmatched):
        raise typer.Exit(1)
