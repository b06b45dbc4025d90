"""`python -m tests.simulator.drill`: the drill over two versions. Exit 1 if anything is not as it should be."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.simulator.drill.run import Drill
from tests.simulator.drill.versions import DrillError, this_version, version_at

RELEASED = "61c2288"
"""0.1.0, the release before this one."""


def main() -> int:
    """Run the drill; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/drill", description=__doc__)
    parser.add_argument("--from", dest="ref", default=RELEASED, help=f"the old version, a commit; {RELEASED} is 0.1.0")
    parser.add_argument("--log", type=Path, help="a file for what the functions wrote")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="agent-stack-drill-") as directory:
        try:
            drill = Drill(version_at(arguments.ref, Path(directory)), this_version(), _say)
        except DrillError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        try:
            found = drill.play()
        except DrillError as error:
            found = [str(error)]
        if arguments.log is not None:
            arguments.log.write_text("\n".join(drill.lines) + "\n")
    for problem in found:
        _say(f"FAIL  {problem}")
    if not found:
        _say(
            f"PASS  {len(drill.expected)} jobs, from {arguments.ref} to this checkout and back, "
            f"{time.monotonic() - began:.0f} s."
        )
    return 1 if found else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
