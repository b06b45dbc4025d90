"""Takes each stage out of the wiring in turn and expects the end-to-end outcome to fail without it.

A stage whose absence nobody notices is either not needed or not tested. The whole chain runs along as a control, under
the same load. Prints one line a stage; exit 1 if one was not missed, or if the control failed.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAINS = Path("agent_stack/wiring/chains.py")
OUTCOME_TEST = "tests/scenario/test_end_to_end.py"
TOLD_TEST = "tests/scenario/test_notifications.py"
OUTCOME_OF = {"Note": TOLD_TEST, "Explain": TOLD_TEST}
"""Who waits is told after half a minute; for these the outcome is looked at on the virtual clock."""

TEST_FAILED = 1  # pytest's exit code when tests ran and some failed
AT_ONCE = 2  # worlds; with more on two cores even the whole chain would come too late
NOTHING = "(nothing)"  # what the control leaves out


class _Chains(ast.NodeTransformer):
    """Finds the stages of the chains, and leaves one out."""

    def __init__(self, without: str | None) -> None:
        self.without = without
        self.found: list[str] = []
        self._named: dict[str, str] = {}

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        """`tell = Tell(…)`: the name stands for the stage."""
        if isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call):
            self._named[node.targets[0].id] = ast.unparse(node.value.func)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        """`looking: … = (…)`: a part of a chain."""
        if isinstance(node.value, ast.Tuple):
            kept = []
            for element in node.value.elts:
                stage = self._stage(element)
                self.found.append(stage)
                if stage != self.without:
                    kept.append(element)
            node.value.elts = kept
        return node

    def _stage(self, element: ast.expr) -> str:
        """The stage's class, looked for under what wraps it."""
        for node in ast.walk(element):
            if isinstance(node, ast.keyword) and node.arg == "step" and isinstance(node.value, ast.Name):
                return self._named[node.value.id]
        made = next(node for node in ast.walk(element) if isinstance(node, ast.Call))
        return ast.unparse(made.func)


def stages() -> list[str]:
    """Every stage of both chains, in order."""
    chains = _Chains(None)
    chains.visit(ast.parse((ROOT / "functions" / CHAINS).read_text()))
    return chains.found


def outcome_without(stage: str) -> tuple[str, bool, str]:
    """Run the outcome test without that stage: the stage, whether it was missed, and what the test said."""
    with tempfile.TemporaryDirectory(prefix="agent-stack-without-") as directory:
        functions = Path(directory) / "functions"
        shutil.copytree(ROOT / "functions", functions, ignore=shutil.ignore_patterns("__pycache__"))
        source = (functions / CHAINS).read_text()
        (functions / CHAINS).write_text(ast.unparse(_Chains(stage).visit(ast.parse(source))))
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
                *("-o", f"pythonpath={functions} {ROOT}"),
                OUTCOME_OF.get(stage, OUTCOME_TEST),
            ],
            cwd=ROOT,
            env={**os.environ, "AGENT_STACK_FUNCTIONS": str(functions), "AGENT_STACK_PATIENCE_SECONDS": "32"},
            capture_output=True,
            text=True,
            check=False,
        )
    said = [line for line in run.stdout.splitlines() if line.startswith("E  ")]
    missed = run.returncode == TEST_FAILED and any("AssertionError" in line for line in said)
    return stage, missed, said[0][1:].strip() if said else f"pytest ended with {run.returncode}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the stages named, or all; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/without-each-stage", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help="only these, such as Sweep")
    wanted = parser.parse_args(arguments).stages or stages()
    not_missed = set()
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for stage, missed, said in pool.map(outcome_without, [NOTHING, *wanted]):
            sys.stdout.write(f"{'missed    ' if missed else 'not missed'}  {stage:<10} {said[:220]}\n")
            sys.stdout.flush()
            if not missed:
                not_missed.add(stage)
    control_holds = NOTHING in not_missed
    not_missed.discard(NOTHING)
    sys.stdout.write(f"{len(wanted) - len(not_missed)} of {len(wanted)} stages are missed when they are gone.\n")
    if not control_holds:
        sys.stdout.write(
            "The control failed: with every stage in place the outcome was wrong too, so nothing is shown.\n"
        )
    return 0 if control_holds and not not_missed else 1


if __name__ == "__main__":
    sys.exit(main())
