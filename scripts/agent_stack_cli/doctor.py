"""`agent-stack doctor`: what is wrong with a deployment, what happens because of it, and what to do.

The dispatcher function looks with its own role and its own token. The operator's own rights are used for the rest:
the ledger, the logs, the stack. Before a first deployment, a parameter file is checked against this account.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from agent_stack.domain.launching import LaunchErrorClass
from agent_stack_cli import lines
from agent_stack_cli.errors import CliError, code_of, command
from agent_stack_cli.output import Output
from agent_stack_cli.parameter_rules import problems, read_file
from agent_stack_cli.records import Records
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack

SILENT_AFTER = timedelta(minutes=3)
LOOK_BACK = timedelta(minutes=15)
MOST_SKEW = timedelta(seconds=30)

REMEDIES: Mapping[str, tuple[str, str]] = {
    "stack_not_registered": (
        "Buildkite did not take the stack key of a queue: no job of it gets a VM.",
        "Compare Queues with the cluster's queues, and choose another StackKey when this one is taken.",
    ),
    "tokens_not_issued": (
        "Buildkite issues no job acquisition tokens: VMs that wait for one power themselves off.",
        "Set AgentCredential=agent-token when the organisation does not have them; else see Buildkite's status page.",
    ),
    "token_refused": (
        "Buildkite does not accept the agent token.",
        "Put a valid token into AgentTokenParameter's parameter.",
    ),
    "queue_not_listed": ("Jobs of a queue are not seen.", "See the error; compare Queues with the cluster's queues."),
    "classes_not_refreshed": (
        "The changed class document is not in force; the last good one is.",
        "Correct it: agent-stack classes validate FILE.",
    ),
    "tick_failed": ("Cycles end early: jobs get their VMs late or not at all.", "See the error."),
    "job_given_up": ("Jobs were finished without a VM.", "See the reason; then retry the jobs at Buildkite."),
}
"""What a logged error means for jobs, and what to do. Others are shown with their own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong; `severity` is `error` when jobs do not run because of it, else `warning`."""

    check: str
    severity: str
    problem: str
    effect: str
    remedy: str


def examine(stack: Stack) -> list[Finding]:
    """Everything that is wrong with a deployed stack, the worst first."""
    found = [*_deployment(stack), *_function(stack), *_liveness(stack), *_learnt(stack), *_logged(stack)]
    unique = {(finding.check, finding.problem): finding for finding in found}
    return sorted(unique.values(), key=lambda finding: (finding.severity != "error", finding.check))


def examine_parameters(session: Session, given: Mapping[str, str]) -> list[Finding]:
    """What would be wrong with a new stack with these parameters, in this account and region."""
    found = [_parameter(problem) for problem in problems(given, complete=True)]
    token = given.get("AgentTokenParameter")
    if token:
        found += _token_parameter(session, token)
    for name in ("ClassesParameter",):
        if given.get(name) and not _exists(session, given[name]):
            found.append(_absent(name, given[name], session.region))
    subnets = [subnet.strip() for subnet in given.get("Subnets", "").split(",") if subnet.strip()]
    if subnets:
        shown = session.ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": subnets}])["Subnets"]
        found += [
            Finding(
                check="Subnets",
                severity="error",
                problem=f"{subnet} is not in {session.region}",
                effect="Nothing is launched there.",
                remedy="Name subnets of this region, or another --region.",
            )
            for subnet in subnets
            if subnet not in {each["SubnetId"] for each in shown}
        ]
    return found


def show(findings: Sequence[Finding], output: Output, *, of: str) -> None:
    """The findings for people."""
    if output.as_json:
        output.json(findings)
        return
    for finding in findings:
        output.line(f"{finding.severity.upper()}  {finding.check}: {finding.problem}", finding.severity)
        output.line(f"  Because of it: {finding.effect}")
        output.line(f"  Do: {finding.remedy}")
    errors = sum(finding.severity == "error" for finding in findings)
    if findings:
        output.line()
        output.line(f"{errors} errors, {len(findings) - errors} warnings in {of}.")
    else:
        output.line(f"PASS  {of}: nothing is wrong.", "ok")


def _parameter(problem: str) -> Finding:
    return Finding(
        check="parameters",
        severity="error",
        problem=problem,
        effect="CloudFormation refuses the deployment, or ignores the parameter.",
        remedy="Correct it: agent-stack params lists every parameter.",
    )


def _deployment(stack: Stack) -> Iterator[Finding]:
    if "FAILED" in stack.status or "ROLLBACK" in stack.status:
        yield Finding(
            check="stack",
            severity="warning",
            problem=f"CloudFormation shows {stack.status}",
            effect="The last deployment did not take effect as a whole.",
            remedy=command("aws", "cloudformation", "describe-stack-events", "--stack-name", stack.name),
        )
    if stack.parameters.get("LaunchEnabled") == "false":
        yield Finding(
            check="LaunchEnabled",
            severity="warning",
            problem="LaunchEnabled is false",
            effect="Nothing is launched; jobs wait.",
            remedy=command("scripts/deploy", stack.name, "LaunchEnabled=true"),
        )
    for name, pause in Records(stack=stack).pauses().paused.items():
        queue = [] if name == "*" else ["--queue", name]
        yield Finding(
            check="pause" if name == "*" else f"pause of queue {name}",
            severity="warning",
            problem=f"Launches are paused since {pause.words}",
            effect="Nothing is launched; jobs wait.",
            remedy=command("agent-stack", "resume", "--stack", stack.name, *queue),
        )


def _function(stack: Stack) -> Iterator[Finding]:
    """What the dispatcher sees when it looks with its own role and token."""
    answer = stack.session.functions.invoke(
        FunctionName=stack.outputs["DispatcherFunction"], Payload=json.dumps({"agent_stack_inspection": 1}).encode()
    )
    said = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        words = f"{said.get('errorType')}: {said.get('errorMessage')}" if isinstance(said, dict) else str(said)
        yield Finding(
            check="dispatcher",
            severity="error",
            problem=f"The function fails: {words}",
            effect="No job gets a VM.",
            remedy="Correct what the words name, and deploy.",
        )
        return
    if not isinstance(said, dict):
        yield Finding(
            check="dispatcher",
            severity="warning",
            problem="The deployed version does not know how to be inspected.",
            effect="Token, queues, classes and rights are not examined.",
            remedy=command("scripts/deploy", stack.name),
        )
        return
    for finding in said["findings"]:
        yield Finding(**{name: str(finding[name]) for name in ("check", "severity", "problem", "effect", "remedy")})
    if said["now"] is not None:
        skew = abs(stack.session.now() - datetime.fromtimestamp(said["now"], UTC))
        if skew > MOST_SKEW:
            yield Finding(
                check="clock",
                severity="warning",
                problem=f"This machine's clock differs from the function's by {skew.total_seconds():.0f} s",
                effect="Times that agent-stack shows are wrong by that much.",
                remedy="Set this machine's clock.",
            )


def _liveness(stack: Stack) -> Iterator[Finding]:
    now = stack.session.now()
    for holder in Records(stack=stack).holders():
        silent = holder.until is not None and now - holder.until > SILENT_AFTER
        if silent or not holder.fence:
            since = "ever" if holder.until is None else f"since {holder.until:%H:%M:%S} UTC"
            yield Finding(
                check=holder.function,
                severity="error",
                problem=f"The {holder.function} has run no cycle {since}"
                if silent
                else f"The {holder.function} never ran.",
                effect="No job gets a VM." if holder.function == "dispatcher" else "Nobody follows VMs and jobs.",
                remedy=f"Look at its log: aws logs tail {stack.log_group(holder.function)} --since 10m",
            )


def _learnt(stack: Stack) -> Iterator[Finding]:
    """What EC2 refused lately, as the dispatcher remembers it."""
    now, memory = stack.session.now(), Records(stack=stack).memory()
    for name, breaker in memory.breakers.items():
        if breaker.until > now:
            what = "every class" if name == "*" else f"class {name}"
            yield Finding(
                check=what,
                severity="error",
                problem=f"EC2 refuses {what}: {breaker.message}",
                effect="Its jobs are finished with these words after a minute."
                if breaker.definite
                else "Its jobs wait; the dispatcher tries again within minutes.",
                remedy="Correct the class (agent-stack classes validate), or what the words name.",
            )
    for name, words in memory.last_error_by_class.items():
        if any(code in words for code in ("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded")):
            yield Finding(
                check=f"quota of class {name}",
                severity="warning",
                problem=f"EC2 said last: {words}",
                effect="Jobs of the class wait, or are finished at LaunchDeadlineSeconds.",
                remedy="Ask AWS to raise the quota (Service Quotas, Amazon EC2), or lower MaxInstances.",
            )


def _logged(stack: Stack) -> Iterator[Finding]:
    try:
        found = lines.errors(stack, since=stack.session.now() - LOOK_BACK)
    except ClientError as error:
        yield Finding(
            check="logs",
            severity="warning",
            problem=f"the logs cannot be read: {code_of(error)}",
            effect="Errors of the functions are not examined.",
            remedy="Attach the policy that agent-stack policy read prints.",
        )
        return
    latest: dict[str, lines.Line] = {}
    for line in found:
        latest.setdefault(line.message, line)
    for message, line in latest.items():
        known = message if message != "launch_partial" else str(line.facts.get("error_class", LaunchErrorClass.ACCOUNT))
        effect, remedy = REMEDIES.get(known, ("See docs/operations.md.", "See docs/operations.md for this message."))
        yield Finding(
            check=f"log of the {line.function}",
            severity="error",
            problem=f"{message}: {line.said}",
            effect=effect,
            remedy=remedy,
        )


def _token_parameter(session: Session, name: str) -> Iterator[Finding]:
    effect = "The deployment fails: the functions find no token."
    try:
        kind = session.ssm.get_parameter(Name=name)["Parameter"].get("Type")
    except ClientError as error:
        if code_of(error) != "ParameterNotFound":
            raise
        yield _absent("AgentTokenParameter", name, session.region)
        return
    if kind != "SecureString":
        yield Finding(
            check="AgentTokenParameter",
            severity="error",
            problem=f"{name} is of type {kind}",
            effect=effect.replace("find no token", "hold a token that is stored in the open"),
            remedy=f"Delete it and make it anew: aws ssm put-parameter --type SecureString --name {name} --value TOKEN",
        )


def _absent(parameter: str, name: str, region: str) -> Finding:
    return Finding(
        check=parameter,
        severity="error",
        problem=f"there is no SSM parameter {name} in {region}",
        effect="The deployment fails.",
        remedy=f"Make it there (aws ssm put-parameter --region {region} …), or name another --region.",
    )


def _exists(session: Session, name: str) -> bool:
    try:
        session.ssm.get_parameter(Name=name)
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return False
        raise
    return True


def of_file(session: Session, text: str) -> list[Finding]:
    """`examine_parameters` of a parameter file of scripts/deploy.

    Raises:
        CliError: a line is not Name=value.
    """
    try:
        given = read_file(text)
    except ValueError as error:
        raise CliError(str(error), next="write one Name=value a line; # begins a comment") from None
    return examine_parameters(session, given)
