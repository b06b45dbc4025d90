"""What the first use of each service costs a new process in CPU: clients, models, parsers, certificates. No network.

As a program it prints that: a process can use each only once, and nothing may have been loaded before that a function
has not loaded, either.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_stack.wiring.deployment import Deployment

ROOT = Path(__file__).resolve().parents[2]
AS_SHIPPED = "import sys; sys.modules.update(click=None, rich=None)"
"""httpx imports its command line where these are installed; the artefact has neither, and a checkout's tools do."""

DESCRIBED = b"<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>"
PARAMETER = b'{"Parameter": {"Value": "bkct_x", "Name": "/t", "Type": "SecureString", "Version": 1}}'
WRITTEN = b"""{"Items": [], "ConsumedCapacity": {"TableName": "ledger", "CapacityUnits": 1}, "Attributes":
{"holder": {"S": "h"}, "fence": {"N": "1"}, "wakes": {"N": "0"}, "lease_until": {"N": "0"}}}"""
SENT = b'{"MessageId": "m-1"}'
LISTING = b'{"jobs": [], "page_info": {"has_next_page": false}, "cluster_queue": {"id": "q", "dispatch_paused": false}}'


def measured(environment: Mapping[str, str], *, processes: int = 3) -> dict[str, float]:
    """CPU seconds by service, of `processes` new ones the median.

    Args:
        environment: what template.yaml gives a function.
    """
    code = f"{AS_SHIPPED}\nimport runpy; runpy.run_module({__name__!r}, run_name='__main__')"
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    path = os.pathsep.join((str(ROOT / "functions"), str(ROOT)))
    rows = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, **environment, **keys, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()[-1]  # after what the function logs
        )
        for _ in range(processes)
    ]
    return {service: sorted(row[service] for row in rows)[processes // 2] for service in rows[0]}


def first_uses(environment: Mapping[str, str]) -> dict[str, float]:
    """CPU seconds of this process, by the port that the service is behind; the token comes with the first listing."""
    from agent_stack.domain.identifiers import QueueKey  # noqa: PLC0415  (this program measures what is imported)
    from agent_stack.wiring.deployment import Deployment  # noqa: PLC0415

    deployment = Deployment(function="dispatcher", environment=environment)
    ports = deployment.ports
    _answer(deployment.dynamodb, "dynamodb", WRITTEN)
    with deployment.invocation(timedelta(minutes=1)):
        return {
            "lease": _cpu(lambda: deployment.lease.acquire("h", now=deployment.clock.now(), ttl=timedelta(seconds=9))),
            "ledger": _cpu(lambda: (ports.ledger.active_runs(), ports.ledger.open_intents())),
            "stacks": _cpu(lambda: _client_of_buildkite(deployment).list_scheduled(QueueKey("default"))),
            "fleet": _cpu(lambda: _client_of_ec2(deployment).describe()),
            "wake_ups": _cpu(lambda: _client_of_sqs(deployment).wake_tracker()),
        }


def _client_of_buildkite(deployment: "Deployment") -> Any:  # noqa: ANN401  (the port)
    """Made in full, certificates too; then its requests go nowhere."""
    import httpx  # noqa: PLC0415  (imported by then)

    _answer(deployment.ssm, "ssm", PARAMETER)
    deployment.http._transport = httpx.MockTransport(lambda _: httpx.Response(200, content=LISTING))
    deployment.http._mounts = {}
    return deployment.stacks


def _client_of_ec2(deployment: "Deployment") -> Any:  # noqa: ANN401  (the port)
    _answer(deployment.ec2, "ec2", DESCRIBED)
    return deployment.ports.fleet


def _client_of_sqs(deployment: "Deployment") -> Any:  # noqa: ANN401  (the port)
    _answer(deployment.sqs, "sqs", SENT)
    return deployment.ports.wake_ups


class _Body:
    """An answer's body as urllib3 would stream it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._content


def _answer(client: Any, service: str, body: bytes) -> None:  # noqa: ANN401  (of any service)
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415  (imported by then)
    from botocore.compat import HTTPHeaders  # noqa: PLC0415  (imported by then)

    client.meta.events.register_first(
        f"before-send.{service}", lambda request, **_: AWSResponse(request.url, 200, HTTPHeaders(), _Body(body))
    )


def _cpu(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


if __name__ == "__main__":
    import handlers.dispatcher  # noqa: F401  (what a function has imported before it uses anything)

    sys.stdout.write(json.dumps(first_uses(os.environ)))
