"""`agent-stack doctor --parameters FILE`: what would be wrong with a new stack, before anything is deployed."""

from collections.abc import Iterator, Mapping
from functools import partial

from agent_stack.domain.findings import Finding
from agent_stack_cli.errors import CliError
from agent_stack_cli.findings import looked
from agent_stack_cli.parameter_rules import problems, read_file
from agent_stack_cli.session import Session

FAILS = "The deployment fails."


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


def examine_parameters(session: Session, given: Mapping[str, str]) -> list[Finding]:
    """What would be wrong with a new stack with these parameters, in this account and region."""
    session.client("sts").get_caller_identity()  # without credentials that work every look would fail alike
    looks = {
        "AgentTokenParameter": partial(_token, session, given.get("AgentTokenParameter", "")),
        "ClassesParameter": partial(_classes, session, given.get("ClassesParameter", "")),
        "Subnets": partial(_subnets, session, _listed(given, "Subnets"), given.get("VpcId", "")),
    }
    again = session.agent_stack("doctor", "--parameters", "FILE")
    found = [_parameter(problem) for problem in problems(given, complete=True)]
    return found + [finding for check, look in looks.items() for finding in looked(check, look, again)]


def _listed(given: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in given.get(name, "").split(",") if part.strip()]


def _parameter(problem: str) -> Finding:
    return Finding(
        check="parameters",
        severity="error",
        problem=problem,
        effect="CloudFormation refuses the deployment, or ignores the parameter.",
        remedy="Correct it; docs/reference/parameters.md lists every parameter and what it may be.",
    )


def _token(session: Session, name: str) -> Iterator[Finding]:
    if not name or name.startswith("arn:"):  # what another account shares is not in this one's list
        return
    facts = session.parameter_facts(name)
    if facts is None:
        yield _absent(session, "AgentTokenParameter", name, "--type", "SecureString", "--value", "TOKEN")
    elif (kind := facts.get("Type")) != "SecureString":
        make = ("ssm", "put-parameter", "--type", "SecureString", "--name", name, "--value", "TOKEN")
        yield Finding(
            check="AgentTokenParameter",
            severity="error",
            problem=f"{name} is of type {kind}",
            effect="The agent token is stored in the open; scripts/deploy refuses it.",
            remedy=f"{session.aws('ssm', 'delete-parameter', '--name', name)}, then: {session.aws(*make)}",
        )


def _classes(session: Session, name: str) -> Iterator[Finding]:
    if name and session.parameter_facts(name) is None:
        yield _absent(session, "ClassesParameter", name, "--type", "String", "--value", "file://classes.json")


def _subnets(session: Session, wanted: list[str], vpc: str) -> Iterator[Finding]:
    if not wanted:
        return
    by_id = [{"Name": "subnet-id", "Values": wanted}]
    shown = {s["SubnetId"]: s for s in session.ec2.describe_subnets(Filters=by_id)["Subnets"]}  # type: ignore[arg-type]  # the stub's own dictionary
    for subnet in wanted:
        if subnet not in shown:
            yield Finding(
                check="Subnets",
                severity="error",
                problem=f"{subnet} is not in {session.region}",
                effect="Nothing is launched there.",
                remedy="Name subnets of this region, or another --region.",
            )
        elif vpc and shown[subnet].get("VpcId") != vpc:
            yield Finding(
                check="Subnets",
                severity="error",
                problem=f"{subnet} is in {shown[subnet].get('VpcId')}, and VpcId is {vpc}",
                effect="EC2 refuses every launch there: the VMs' security group is of another VPC.",
                remedy="Name the VPC of these subnets in VpcId, or subnets of that VPC.",
            )


def _absent(session: Session, parameter: str, name: str, *make: str) -> Finding:
    return Finding(
        check=parameter,
        severity="error",
        problem=f"there is no SSM parameter {name} in {session.region}",
        effect=FAILS,
        remedy="Make it there, or name another --region: " + session.aws("ssm", "put-parameter", "--name", name, *make),
    )
