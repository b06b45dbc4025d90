"""What the tracker may and may not: ends of VMs, credentials."""

from tests.infra.launches import OURS
from tests.infra.requests.asking import ANOTHER_VM, MAILBOX, OTHERS_TABLE, PLACE, TAG, Named, ask, log
from tests.simulator.deployment import ACCOUNT
from tests.simulator.iam import Asked


def _terminate(deployment: str | None) -> Asked:
    tags = {} if deployment is None else {f"aws__ResourceTag/{TAG}": deployment}
    return ask("ec2:TerminateInstances", ANOTHER_VM, **tags)


def allowed() -> Named:
    yield "our VM ended", _terminate("ci")
    yield "our VM's console", ask("ec2:GetConsoleOutput", ANOTHER_VM, **{f"aws__ResourceTag/{TAG}": "ci"})
    yield "status of VMs", ask("ec2:DescribeInstanceStatus")
    yield "mailboxes read", ask("dynamodb:BatchGetItem", MAILBOX)
    yield "credential taken", ask("dynamodb:UpdateItem", MAILBOX)
    for action in ("CreateLogStream", "PutLogEvents"):
        yield f"{action} of its own", ask(f"logs:{action}", log("/agent-stack/ci/tracker"))
    for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage"):
        yield f"{action} of instances' news", ask(f"sqs:{action}", f"arn:aws:sqs:{PLACE}:WakesId")


def denied() -> Named:
    yield "another's VM ended", _terminate("another")
    yield "a VM without a tag ended", _terminate(None)
    yield "another's console", ask("ec2:GetConsoleOutput", ANOTHER_VM, **{f"aws__ResourceTag/{TAG}": "another"})
    yield "a console without a tag", ask("ec2:GetConsoleOutput", ANOTHER_VM)
    yield "a volume's console", ask("ec2:GetConsoleOutput", f"{OURS}:volume/x", **{f"aws__ResourceTag/{TAG}": "ci"})
    yield "a volume ended", ask("ec2:TerminateInstances", f"{OURS}:volume/x", **{f"aws__ResourceTag/{TAG}": "ci"})
    yield "a VM stopped", ask("ec2:StopInstances", ANOTHER_VM, **{f"aws__ResourceTag/{TAG}": "ci"})
    yield "mailbox filled", ask("dynamodb:PutItem", MAILBOX)
    yield "mailboxes of others", ask("dynamodb:BatchGetItem", OTHERS_TABLE)
    yield "a log of the dispatcher's", ask("logs:PutLogEvents", log("/agent-stack/ci/dispatcher"))
    yield "itself woken", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:WakesId")
    yield "jobs' news", ask("sqs:ReceiveMessage", f"arn:aws:sqs:{PLACE}:JobWakesId")
    yield "a launch", ask("ec2:RunInstances", f"{OURS}:spot-instances-request/*")
    yield "VMs' role", ask("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/InstanceRoleId")
