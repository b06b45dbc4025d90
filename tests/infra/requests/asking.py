"""How a request is written down, and what is called how in the resolved stack."""

from collections.abc import Iterator

from tests.infra.launches import OURS
from tests.infra.stacks import KEY
from tests.simulator.deployment import ACCOUNT
from tests.simulator.iam import Asked

PLACE = f"eu-central-1:{ACCOUNT}"
TABLES = f"arn:aws:dynamodb:{PLACE}:table/"
LEDGER, MAILBOX, OTHERS_TABLE = (f"{TABLES}{name}" for name in ("LedgerTableId", "MailboxTableId", "orders"))
PARAMETERS = f"arn:aws:ssm:{PLACE}:parameter"
SECRETS = f"arn:aws:secretsmanager:{PLACE}:secret:"
ME, ANOTHER_VM = (f"{OURS}:instance/i-{digit * 17}" for digit in "12")
TAG = "agent-stack:deployment"

Named = Iterator[tuple[str, Asked | tuple[Asked, ...]]]


def ask(action: str, resource: str = "*", **context: str) -> Asked:
    """A request with condition keys whose colons are written as double underscores."""
    return Asked(
        action=action, resource=resource, context={key.replace("__", ":"): [value] for key, value in context.items()}
    )


def key(action: str, service: str, key: str = KEY, **context: str) -> Asked:
    return ask(f"kms:{action}", key, kms__ViaService=f"{service}.eu-central-1.amazonaws.com", **context)


def log(group: str) -> str:
    """The ARN of a stream in that group."""
    return f"arn:aws:logs:{PLACE}:log-group:{group}:log-stream:x"
