"""Clients in a network namespace, which stands for a container: a token file, a way to AWS and Buildkite, nothing else.

The namespace has no metadata service and no network of the VM's. Relays through sockets in the file system are its
only ways out, because such a socket is no part of a network.
"""

import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.vm.harness import AGENT, wait_for
from tests.vm.job_stack import ACCOUNT
from tests.vm.job_yard import JobYard

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]

NAMESPACES = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
RELAY = """
import asyncio, sys

listen, to, ready = sys.argv[1:]

async def opened(at):
    return await (asyncio.open_unix_connection(at) if "/" in at else asyncio.open_connection("127.0.0.1", int(at)))

async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def serve(reader, writer):
    there = await opened(to)
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer), return_exceptions=True)

async def main():
    if "/" in listen:
        server = await asyncio.start_unix_server(serve, listen)
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", int(listen))
    open(ready, "w").close()
    await server.serve_forever()

asyncio.run(main())
"""

ENTER = """
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
for port in {ports}; do
  {python} {place}/relay.py $port {place}/$port.socket {place}/$port.inside &
  until [[ -e {place}/$port.inside ]]; do sleep 0.05; done
done
"$@"
"""


@pytest.fixture
def container(yard: JobYard) -> Iterator[str]:
    """What begins a command in a namespace of its own, whose processes end with it."""
    ports = [str(urlsplit(url).port) for url in (yard.front.origin, yard.server.url)]
    relay, enter = yard.place / "relay.py", yard.place / "enter"
    relay.write_text(RELAY)
    enter.write_text(ENTER.format(python=sys.executable, place=yard.place, ports=" ".join(ports)))
    ready = {port: yard.place / f"{port}.ready" for port in ports}
    outside = [
        subprocess.Popen([sys.executable, relay, yard.place / f"{port}.socket", port, ready[port]]) for port in ports
    ]
    try:
        wait_for(lambda: all(path.exists() for path in ready.values()))
        yield f"unshare --net --pid --fork --kill-child bash {enter}"
    finally:
        for process in outside:
            process.kill()
            process.wait()


CLIENT = """
import boto3
s3 = boto3.client("s3")
s3.put_object(Bucket="artifacts", Key="{own}/x", Body=b"by a container")
print(s3.get_object(Bucket="artifacts", Key="{own}/x")["Body"].read().decode())
try:
    s3.put_object(Bucket="artifacts", Key="other/x", Body=b"")
except Exception as error:
    print(error.response["Error"]["Code"])
print(boto3.client("sts").get_caller_identity()["Account"])
"""


@pytest.mark.skipif(not NAMESPACES, reason="this user makes no network namespaces")
def test_an_sdk_in_a_container_acts_as_the_jobs_pipeline(yard: JobYard, container: str) -> None:
    job = yard.job()
    (yard.place / "client.py").write_text(CLIENT.format(own=job.pipeline_id))
    script = f"{container} {sys.executable} client.py; {container} curl -s -m 2 169.254.169.254 || echo no metadata"
    done = yard.hooked(job, script)
    assert done.out.splitlines() == ["by a container", "AccessDenied", ACCOUNT, "no metadata"], done.said


@pytest.mark.skipif(not NAMESPACES, reason="this user makes no network namespaces")
@pytest.mark.skipif(AGENT.name == "agent_stub.py", reason="BUILDKITE_AGENT_BINARY names no real agent")
def test_the_agents_uploader_in_a_container(yard: JobYard, container: str) -> None:
    job = yard.job()
    (yard.place / "x.txt").write_text("by a container")
    script = f"{container} timeout 20 {AGENT.resolve()} artifact upload x.txt 2>&1"
    env = {"AGENT_STACK_ARTIFACT_BUCKET": "artifacts", "BUILDKITE_S3_ENDPOINT": yard.front.origin}
    done = yard.hooked(job, script, env=env)
    kept = yard.operator("s3").list_objects_v2(Bucket="artifacts").get("Contents", [])
    assert [one["Key"].partition("/")[0] for one in kept] == [job.pipeline_id], done.out
