"""A baked image's components, run by bash as Image Builder runs them, in a directory in place of the root.

The tools are stand-ins, which do what the real ones leave behind: files below that root.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import yaml

from tests.infra.test_image_model import image

PLACE = re.compile(r"/(?=(?:etc|var|usr/local)/|dev/shm\b)")
"""How absolute paths begin that components name."""

CURL = """
while (($#)); do
  case $1 in
    -o) file=$2 && shift ;;
    --url) url=$2 && shift ;;
    --proto | --proto-redir | --retry | --max-time) shift ;;
    -*) ;;
    *) url=$1 ;;
  esac
  shift
done
echo "curl $url" >>"$CALLS"
answer=$ANSWERS/$(tr / _ <<<"$url")
[[ -f $answer ]] || { echo "curl: (22) The requested URL returned error: 404" >&2; exit 22; }
cat "$answer" >"$file"
"""

PACKAGE_MANAGER = """
echo "${0##*/} $*" >>"$CALLS"
for word; do
  [[ ,$BROKEN, != *",$word,"* && $word != --repo=*gone* ]] || { echo "E: no $word here" >&2; exit 1; }
  [[ $word != Dir::Etc::sourcelist=* ]] || ! grep -q gone "${word#*=}" || { echo "E: 404 Not Found" >&2; exit 100; }
done
"""

DOCKER = """
echo "docker $*" >>"$CALLS"
case $1 in
  login)
    mkdir -p "${DOCKER_CONFIG:-$HOME/.docker}"
    printf '{"auths":{"%s":{"auth":"%s"}}}' "${*: -1}" "$(base64 -w 0)" >>"${DOCKER_CONFIG:-$HOME/.docker}/config.json"
    ;;
  pull)
    if [[ ,$BROKEN, == *",${*: -1},"* ]]; then
      printf 'Error response from daemon: \\033[31mmanifest unknown\\n\\n' >&2
      exit 1
    fi
    registry=${*: -1} given=$DOCKER_CONFIG/config.json
    registry=${registry%%/*}
    [[ ${*: -1} == */* && $registry == *.* ]] || registry=https://index.docker.io/v1/
    for rule in ${PRIVATE//,/ }; do
      if [[ ${rule%%=*} == "$registry" ]] && ! grep -qF "\\"$registry\\":{\\"auth\\":\\"${rule#*=}\\"}" "$given"; then
        echo "Error response from daemon: pull access denied" >&2
        exit 1
      fi
    done
    [[ -z $SECRETS ]] || grep -rlE "$SECRETS" "$ROOT" --exclude-dir=shm | sed 's/^/on the disk: /' >>"$CALLS"
    mkdir -p "$ROOT/var/lib/docker" && echo "${*: -1}" >>"$ROOT/var/lib/docker/pulled"
    ;;
esac
"""

AWS = """
echo "aws $*" >>"$CALLS"
while [[ $1 == --* ]]; do shift 2; done
answer=$ANSWERS/aws_$1_$2
[[ -f $answer ]] || { echo "An error occurred (AccessDeniedException) when calling $2: not allowed" >&2; exit 254; }
cat "$answer"
"""

QUIET = """
echo "${0##*/} $*" >>"$CALLS"
"""


@dataclass(frozen=True, slots=True)
class Yard:
    """The root, and what was called.

    Attributes:
        answers: by URL; those of the AWS CLI as aws_SERVICE_OPERATION.
        private: registries that ask for a login, with docker's own form of it.
        secrets: an expression for what no file outside the memory may hold while docker pulls.
    """

    path: Path
    system: str = "amazon-linux-2023"
    answers: dict[str, bytes] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    private: Mapping[str, str] = field(default_factory=dict)
    secrets: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """In place of the image's root."""
        return self.path / "root"

    @property
    def calls(self) -> list[str]:
        """Of the stand-ins, in order."""
        file = self.path / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def said(self) -> str:
        """All that the last bake wrote to its log."""
        return (self.path / "said").read_text()

    @property
    def lacks(self) -> list[str]:
        """What the image says that it lacks."""
        file = self.root / "var/cache/agent-stack/lacks"
        return file.read_text().splitlines() if file.exists() else []

    def bake(
        self, components: Iterable[str], environment: Mapping[str, str] = MappingProxyType({}), **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the commands of these components' build phases until one fails; what the last one said."""
        made = image(self.system, "x86", **settings).resources
        self._tools()
        (self.path / "said").unlink(missing_ok=True)
        done = self.run("true")
        for name in components:
            document = yaml.safe_load(made[name]["Properties"]["Data"])
            (build,) = [phase for phase in document["phases"] if phase["name"] == "build"]
            for step in build["steps"]:
                for command in step["inputs"]["commands"]:
                    done = self.run(command, environment)
                    with (self.path / "said").open("a") as said:
                        said.write(done.stdout + done.stderr)
                    if done.returncode:
                        return done
        return done

    def files(self) -> dict[str, bytes]:
        """Every file that the image has, with its name in front of its content."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}

    def run(
        self, command: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """One command, as a component has it."""
        return subprocess.run(
            ["bash", "-c", PLACE.sub(f"{self.root}/", command)],
            env={
                **environment,
                "PATH": f"{self.path / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.root / "root"),
                "TMPDIR": str(self.root / "tmp"),
                "ROOT": str(self.root),
                "CALLS": str(self.path / "calls"),
                "ANSWERS": str(self.path / "answers"),
                "BROKEN": ",".join(self.broken),
                "PRIVATE": ",".join(f"{registry}={login}" for registry, login in self.private.items()),
                "SECRETS": self.secrets,
                "PAUSE_SECONDS": "0",
            },
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
        )

    def _tools(self) -> None:
        for place in (
            "bin",
            "answers",
            "root/tmp",
            "root/root",
            "root/dev/shm",
            "root/etc",
            "root/var/lib",
            "root/usr/local/bin",
        ):
            (self.path / place).mkdir(parents=True, exist_ok=True)
        for place in ("yum.repos.d", "apt/sources.list.d"):
            (self.root / "etc" / place).mkdir(parents=True, exist_ok=True)
        manager = "apt-get" if self.system.startswith("ubuntu") else "dnf"
        tools = {
            manager: PACKAGE_MANAGER,
            "curl": CURL,
            "docker": DOCKER,
            "aws": AWS,
            "systemctl": QUIET,
            "git": QUIET,
            **self.tools,
        }
        for name, text in tools.items():
            (self.path / "bin" / name).write_text(f"#!/bin/bash\n{text}")
            (self.path / "bin" / name).chmod(0o755)
        for url, answer in self.answers.items():
            (self.path / "answers" / url.replace("/", "_")).write_bytes(answer)
