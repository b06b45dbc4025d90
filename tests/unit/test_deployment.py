"""The real adapters as the functions get them."""

import httpx
import pytest
from werkzeug import Request, Response

from agent_stack.wiring.deployment import VERSION, Deployment
from tests.simulator.loopback import LoopbackServer
from tests.unit.values import an_environment


def test_a_proxy_is_taken_from_the_usual_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def proxy(request: Request) -> Response:
        asked.append(request.environ["REQUEST_URI"])
        return Response(status=204)

    with LoopbackServer(proxy, advance=lambda: None) as server:
        monkeypatch.setenv("HTTP_PROXY", server.origin)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with Deployment(function="dispatcher", environment=an_environment()).http as http:
            http.get("http://buildkite.invalid/v3/ping")
    assert asked == ["http://buildkite.invalid/v3/ping"]


def test_a_custom_authority_is_taken_from_the_usual_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises((FileNotFoundError, httpx.InvalidURL)):
        _ = Deployment(function="dispatcher", environment=an_environment()).http


def test_requests_to_aws_and_to_buildkite_name_this_project_and_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []

    def service(request: Request) -> Response:
        named.append(request.headers["User-Agent"])
        return Response('{"TableNames": []}')

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with LoopbackServer(service, advance=lambda: None) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.origin)
        deployment = Deployment(function="dispatcher", environment=an_environment())
        deployment.dynamodb.list_tables()
        with deployment.http as http:
            http.get(f"{server.origin}/v3/ping")
    first = [name.split()[0] for name in named]  # Powertools adds words of its own
    assert first == [f"agent-stack-ec2/{VERSION}"] * 2


def test_an_idle_process_makes_no_client_it_does_not_use() -> None:
    """An import of a service's model costs tens of milliseconds of a cold start."""
    deployment = Deployment(function="dispatcher", environment=an_environment())
    assert not {"dynamodb", "ec2", "ssm"} & set(vars(deployment))
