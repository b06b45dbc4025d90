"""The rule that keeps the job's user from the metadata service, in this machine's kernel, between two namespaces."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.user_data import VM

MAY = (
    os.geteuid() == 0
    and all(shutil.which(program) for program in ("ip", "unshare", "setpriv"))
    and subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
)

STORY = r"""
set -euo pipefail
cd "$1"
# The service's side of the wire, in a namespace of its own.
unshare --net sleep 60 & service=$!
trap 'kill $service' EXIT
until [[ $(readlink /proc/$service/ns/net) != $(readlink /proc/self/ns/net) ]]; do sleep 0.01; done
ip link add vm type veth peer name service netns $service
ip address add 10.0.0.2/24 dev vm && ip link set vm up
ip route add 169.254.169.254/32 dev vm
nsenter --net=/proc/$service/ns/net bash -c '
  ip link set lo up; ip address add 10.0.0.1/24 dev service; ip address add 169.254.169.254/32 dev service
  ip link set service up; exec "$1" -m http.server --bind 169.254.169.254 80' - "$2" >/dev/null 2>&1 & server=$!
trap 'kill $server $service' EXIT
reach() {
  setpriv --reuid "$1" --clear-groups curl -s -o /dev/null -m 2 http://169.254.169.254/ &&
    echo "$1 reaches it" || echo "$1 does not"
}
for _ in {1..100}; do curl -s -o /dev/null -m 1 http://169.254.169.254/ && break; sleep 0.05; done
reach 991
AGENT_USER=whoever JOB_SUDO=denied JOB_DOCKER=denied JOB_METADATA=$3
id() { echo 991; }
fail() { echo "failed: $1"; exit 1; }
say() { echo "$1"; }
source "$4/prepare.sh"
confine_job
reach 991
reach 0
reach 992
"""


@pytest.mark.skipif(not MAY, reason="needs root, ip, setpriv and network namespaces")
@pytest.mark.parametrize(("setting", "then"), [("blocked", "does not"), ("allowed", "reaches it")])
def test_only_the_jobs_user_is_kept_away(setting: str, then: str, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or "python3"
    told = subprocess.run(
        ["unshare", "--net", "bash", "-c", STORY, "-", tmp_path, python, setting, VM],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.splitlines() == ["991 reaches it", f"991 {then}", "0 reaches it", "992 reaches it"]
