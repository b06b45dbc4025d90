"""A fake EC2 instance metadata service, version 2 only, for many local VMs on one port.

Each VM has a base URL of its own, `http://127.0.0.1:PORT/vm/INSTANCE_ID`, under which the paths are EC2's. As on
EC2, everything but the token needs one, a token is good for its own VM only, and what does not exist is a 404.

Source: the EC2 user guide's pages on the instance metadata service and its categories.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tests.simulator.loopback import AnswerLost

ROLE_NAME = "agent-stack-vm"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineIdentity:
    """What the metadata service knows of one VM."""

    instance_id: str
    region: str
    account_id: str
    zone: str
    instance_type: str = "c7g.large"
    image_id: str = "ami-00000000000000000"
    life_cycle: str = "on-demand"
    partition: str = "aws"
    domain: str = "amazonaws.com"
    tags: Mapping[str, str] | None = None
    """Those that it may see; None where its launch template does not say that it may."""

    @property
    def arn(self) -> str:
        return f"arn:{self.partition}:ec2:{self.region}:{self.account_id}:instance/{self.instance_id}"

    @property
    def access_key_id(self) -> str:
        """The role session's key id: names its VM, so that a server can tell who signed."""
        return f"ASIA{self.instance_id.removeprefix('i-').upper()}"

    @property
    def secret_access_key(self) -> str:
        return f"secret+of/{self.instance_id}"

    @property
    def session_token(self) -> str:
        return f"session+of/{self.instance_id}=="


@dataclass(slots=True)
class _Machine:
    identity: MachineIdentity
    tokens: set[str] = field(default_factory=set)
    spot_action_at: datetime | None = None
    directory: Path | None = None


class FakeImds:
    """The service on a loopback port; a context manager."""

    def __init__(self, *, credentials_expire_at: datetime) -> None:
        self._credentials_expire_at = credentials_expire_at
        self._machines: dict[str, _Machine] = {}
        self._lock = threading.Lock()
        self._requests: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._application, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="imds", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url_of(self, instance_id: str) -> str:
        """The base URL to give to a VM as AWS_EC2_METADATA_SERVICE_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.port}/vm/{instance_id}"

    def add(self, identity: MachineIdentity, directory: Path | None = None) -> None:
        """Serve one more VM.

        Args:
            directory: the VM's own, in which its first process notes which units may not come here.
        """
        with self._lock:
            self._machines[identity.instance_id] = _Machine(identity, directory=directory)

    def remove(self, instance_id: str) -> None:
        with self._lock:
            self._machines.pop(instance_id, None)

    def announce_spot_interruption(self, instance_id: str, *, at: datetime) -> None:
        """From now on spot/instance-action says that EC2 terminates the VM at `at`."""
        with self._lock:
            self._machines[instance_id].spot_action_at = at

    def expire_tokens(self, instance_id: str) -> None:
        """End every session token that the VM holds, as six hours do."""
        with self._lock:
            self._machines[instance_id].tokens.clear()

    def requests_of(self, instance_id: str) -> list[str]:
        """`METHOD path` of every request of one VM, in order."""
        with self._lock:
            return [request for owner, request in self._requests if owner == instance_id]

    def _application(self, environ: dict[str, object], start_response: object) -> Iterable[bytes]:
        request = Request(environ)
        return self._answer(request)(environ, start_response)  # type: ignore[arg-type]  # as above

    def _answer(self, request: Request) -> Response:
        _, root, instance_id, version, path = (*request.path.split("/", 4), "", "", "", "")[:5]
        with self._lock:
            machine = self._machines.get(instance_id)
            if root != "vm" or machine is None or version != "latest":
                return Response(status=404)
            if machine.directory is not None and _denied(request, machine.directory):
                raise AnswerLost(instance_id)
            self._requests.append((instance_id, f"{request.method} {path}"))
            if path == "api/token":
                return self._issue_token(machine, request)
            if request.headers.get("X-aws-ec2-metadata-token") not in machine.tokens:
                return Response(status=401)
            if request.method != "GET":
                return Response(status=405)
            body = self._document(machine, path)
        return Response(status=404) if body is None else Response(body, mimetype="text/plain")

    def _issue_token(self, machine: _Machine, request: Request) -> Response:
        seconds = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if request.method != "PUT" or not seconds.isdecimal() or not 1 <= int(seconds) <= 21_600:
            return Response(status=400)
        token = f"metadata-token-{len(self._requests)}-of-{machine.identity.instance_id}"
        machine.tokens.add(token)
        return Response(token, mimetype="text/plain")

    def _document(self, machine: _Machine, path: str) -> str | None:
        identity = machine.identity
        documents = {
            "dynamic/instance-identity/document": json.dumps(
                {
                    "accountId": identity.account_id,
                    "architecture": "x86_64",
                    "availabilityZone": identity.zone,
                    "imageId": identity.image_id,
                    "instanceId": identity.instance_id,
                    "instanceType": identity.instance_type,
                    "kernelId": None,
                    "region": identity.region,
                },
                indent=2,
                separators=(",", " : "),
            ),
            "meta-data/instance-id": identity.instance_id,
            "meta-data/instance-life-cycle": identity.life_cycle,
            "meta-data/instance-type": identity.instance_type,
            "meta-data/placement/availability-zone": identity.zone,
            "meta-data/placement/region": identity.region,
            "meta-data/services/partition": identity.partition,
            "meta-data/services/domain": identity.domain,
            "meta-data/iam/security-credentials/": ROLE_NAME,
            f"meta-data/iam/security-credentials/{ROLE_NAME}": json.dumps(
                {
                    "Code": "Success",
                    "LastUpdated": _timestamp(self._credentials_expire_at - timedelta(hours=6)),
                    "Type": "AWS-HMAC",
                    "AccessKeyId": identity.access_key_id,
                    "SecretAccessKey": identity.secret_access_key,
                    "Token": identity.session_token,
                    "Expiration": _timestamp(self._credentials_expire_at),
                },
                indent=2,
                separators=(",", " : "),
            ),
        }
        if identity.tags:
            documents["meta-data/tags/instance"] = documents["meta-data/tags/instance/"] = "\n".join(identity.tags)
            documents |= {f"meta-data/tags/instance/{key}": value for key, value in identity.tags.items()}
        if machine.spot_action_at is not None:
            documents["meta-data/spot/instance-action"] = json.dumps(
                {"action": "terminate", "time": _timestamp(machine.spot_action_at)}
            )
        return documents.get(path)


def _denied(request: Request, directory: Path) -> bool:
    """Whether whoever asks belongs to a unit that systemd would not let through."""
    notes = directory / "denied-metadata"
    if not notes.exists():
        return False
    mains = {int(line) for line in notes.read_text().split()}
    port = int(request.environ["REMOTE_PORT"])
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(connection.laddr.port == port for connection in process.net_connections("tcp")):
                return not mains.isdisjoint({process.pid, *(parent.pid for parent in process.parents())})
    return True  # gone already, as a refused client is


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class _Quiet(WSGIRequestHandler):
    """Keeps an access log of its own (`requests_of`) and the console clean."""

    def connection_dropped(self, error: BaseException, environ: object = None) -> None:
        self.close_connection = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # the name is werkzeug's
        pass
