"""`agent-stack connect` and `agent-stack logs`: a shell on a VM, and what was written about a job."""

import os
import re
import shutil
import sys
from datetime import timedelta

from agent_stack.domain.identifiers import JobId
from agent_stack_cli import jobs, lines, vms
from agent_stack_cli.errors import CliError, command
from agent_stack_cli.output import Output
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

PLUGIN = "session-manager-plugin"
INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")


def command_for(stack: Stack, named: str) -> list[str]:
    """The command that opens a shell on a VM of the stack.

    Args:
        named: a job, whose VM is meant, or the VM's own id: a held VM has no job any more.

    Raises:
        CliError: the VMs do not answer to Session Manager, or the VM does not run.
    """
    job_id = None if INSTANCE_ID.fullmatch(named) else jobs.one_job(stack, named)
    if stack.parameters.get("SessionManager") != "true":
        raise CliError(
            f"the VMs of {stack.name} do not answer to Session Manager (SessionManager=false)",
            next=stack.deploy("SessionManager=true") + "; it holds for new VMs",
        )
    instance_id = named if job_id is None else jobs.latest_vm(stack, job_id)
    machine = vms.by_id(stack, instance_id)
    if machine is None or machine.state != "running":
        state = "gone" if machine is None else machine.state
        if job_id is not None:
            raise CliError(f"VM {instance_id} of job {job_id} is {state}", next=stack.agent_stack("logs", job_id))
        other = f", or it is none of {stack.name}" if machine is None else ""
        raise CliError(f"VM {instance_id} is {state}{other}", next=stack.agent_stack("status"))
    return shell_on(stack, instance_id)


def shell_on(stack: Stack, instance_id: str) -> list[str]:
    """The command that opens a shell on that VM, where it is."""
    return stack.session.aws_words("ssm", "start-session", "--target", instance_id)


def run(words: list[str], output: Output, *, only_print: bool) -> None:
    """Becomes that command where a person sits at a terminal; else prints it.

    Raises:
        CliError: a program that the command needs is missing.
    """
    if output.as_json:
        output.json({"command": words})
        return
    output.line(command(*words))
    if only_print or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    for program, page in (("aws", "the AWS CLI"), (PLUGIN, "AWS's Session Manager plugin for the AWS CLI")):
        if shutil.which(program) is None:
            raise CliError(f"{program} was not found on this machine", next=f"install {page}, and try again")
    sys.stdout.flush()
    os.execvp(words[0], words)  # noqa: S606  (no shell; the words are ours, AWS's and the operator's)


def logs_of(stack: Stack, job_id: JobId, *, only_vm: bool) -> list[lines.Line]:
    """The lines of both functions about a job, and those of its VM, in order of time.

    Raises:
        CliError: there are none.
    """
    records = Records(stack=stack)
    runs = records.of_job(job_id)
    instance_ids = {run.binding.instance_id for run in runs if run.binding is not None}
    instance_ids |= {attempt.instance_id for run in runs for attempt in run.tried}
    found = [line for instance_id in sorted(instance_ids) for line in lines.of_vm(stack, instance_id)]
    if not only_vm:
        now = stack.session.now()
        began = min((at for run in runs for at in run.timeline.values()), default=now - jobs.LOOK_BACK)
        found += lines.mentioning(stack, [job_id, *sorted(instance_ids)], since=began - timedelta(seconds=5))
    if not found:
        raise CliError(
            f"nothing is logged about job {job_id} in {stack.name}",
            next=stack.agent_stack("job", job_id),
        )
    return sorted(found, key=lambda line: line.at)
