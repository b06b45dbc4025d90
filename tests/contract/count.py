"""How many cases each port's contract has, and against what they run."""

import subprocess
import sys
from collections import Counter

PORTS = {
    "test_fleet": "Fleet",
    "test_ledger": "Ledger",
    "test_mailbox": "Mailbox",
    "test_lease": "Lease",
    "test_stacks_api": "StacksApi",
    "test_stacks_api_faults": "StacksApi, faults",
}
AGAINST = {
    "attached": "botocore, in process",
    "dynamodb": "DynamoDB by moto",
    "memory": "memory",
    "in process": "httpx, in process",
    "over http": "httpx, over HTTP",
    "http": "botocore, over HTTP",
}


def main() -> int:
    """Print the counts; the exit status."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/contract"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    counts: Counter[tuple[str, str]] = Counter()
    for line in listed.splitlines():
        file, _, case = line.partition("::")
        port = PORTS.get(file.removeprefix("tests/contract/").removesuffix(".py"))
        if port is None:
            continue
        parameters = case.partition("[")[2].rstrip("]")
        world = next((name for mark, name in AGAINST.items() if mark in parameters.replace("-", " ")), "one only")
        counts[port, world] += 1
    for (port, world), count in sorted(counts.items()):
        sys.stdout.write(f"{port:<20} {world:<22} {count:>4} cases\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
