"""How long the boot program's requests take, on a virtual clock, where a service is silent or refuses at once."""

import os
import subprocess
from enum import StrEnum

from infra.user_data import VM


class Service(StrEnum):
    """What a service does with each request."""

    SILENT = "silent"  # a connection, and not a word
    BUSY = "busy"  # 503 at once
    REFUSES = "refuses"  # 401 at once: of the metadata service, whose token is too old
    ANSWERS = "answers"


DRIVER = r"""
set -euo pipefail
export LC_ALL=C
cd "$1"
source ./requests.sh
IMDS=http://metadata DEPLOYMENT_REGION=r clock_set=0 curl_signs=1 served_at=''
key=k secret=s session=t
declare -A endpoint=([dynamodb]=http://aws) version=([dynamodb]=1.0)
at=100000 # milliseconds
say() { :; }
tick() { now=$((at / 1000)); uptime=$now; }
sleep() { at=$((at + ${1%.*} * 1000 + 10#${1#*.})); }
request() {
  local config longest=10 how=$aws
  IFS= read -r -d '' config || true
  [[ ! $config =~ max-time\ =\ ([0-9]+) ]] || longest=${BASH_REMATCH[1]}
  [[ $config != *http://metadata* ]] || how=$metadata
  asked=$((asked + 1)) answer='' trouble='' curl_code=0
  at=$((at + 5))
  case $how in
    silent) at=$((at + longest * 1000)) status=000 curl_code=28 ;;
    busy) status=503 ;;
    refuses) status=401; [[ $config != *PUT* ]] || { status=200 answer=new; } ;;
    answers) status=200 answer='{"AccessKeyId":"k","SecretAccessKey":"s","Token":"t"}' ;;
  esac
}
while IFS=, read -r metadata aws seconds token; do
  began=$at asked=0 keys_at=-1000 imds_token=$token RANDOM=$at
  if [[ $seconds ]]; then
    ! aws dynamodb T '{}' "$seconds" </dev/null
  else
    ! imds it </dev/null
  fi
  echo "$((at - began)) $asked"
done
"""


def _run(*cases: str) -> list[tuple[float, int]]:
    done = subprocess.run(
        ["bash", "-c", DRIVER, "bash", str(VM)],
        input="".join(f"{case}\n" for case in cases),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.defpath},
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(cases)
    return [(int(milliseconds) / 1000, int(asked)) for milliseconds, asked in lines]


def seconds_of_calls(budget: int, *, metadata: Service, aws: Service, calls: int = 5) -> list[float]:
    """Calls to AWS that may be tried for so many seconds each, keys included, and that never succeed."""
    return [seconds for seconds, _ in _run(*[f"{metadata},{aws},{budget},old"] * calls)]


def requests_of_a_look(token: str) -> int:
    """A look at the metadata service, which refuses every token, with that one or none."""
    return _run(f"{Service.REFUSES},{Service.SILENT},,{token}")[0][1]
