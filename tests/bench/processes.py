"""What a new process of the function costs in CPU before it has used anything, and what it takes of memory."""

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.first_uses import AS_SHIPPED

PROCESSES = 5
KEYS = "region_name='eu-central-1', aws_access_key_id='a', aws_secret_access_key='b'"
BARE = f"import boto3; boto3.Session().client('dynamodb', {KEYS})"
OURS = (
    "import handlers.dispatcher, botocore.session; make = botocore.session.Session().create_client; "
    f"make('dynamodb', {KEYS})"
)


def cold_cpu_seconds(processes: int = PROCESSES) -> float:
    """CPU that a process needs before its first cycle: interpreter, imports, the clients of an idle poll."""
    return cpu_of(OURS, processes)


def import_ratio(processes: int = PROCESSES) -> float:
    """CPU of a dispatcher that polls an idle queue for the first time over that of bare boto3 with a DynamoDB client.

    EC2's client is made at its first use, which an idle poll is not. The least of each counts, and they take turns,
    because what else the machine does only adds to them.
    """
    pairs = [(cpu_of(OURS, 1), cpu_of(BARE, 1)) for _ in range(processes)]
    return round(min(ours for ours, _ in pairs) / min(bare for _, bare in pairs), 2)


def cpu_of(code: str, processes: int) -> float:
    """CPU seconds of a Python process that runs that code; of so many the median."""
    taken = sorted(said_by(f"{code}\nimport time; print(time.process_time())") for _ in range(processes))
    return taken[processes // 2]


def said_by(code: str) -> float:
    """The number that a Python process prints which runs that code beside the functions, with their bytecode."""
    functions = Path(__file__).resolve().parents[2] / "functions"
    done = subprocess.run(
        [sys.executable, "-c", f"{AS_SHIPPED}\n{code}"],
        cwd=functions,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
