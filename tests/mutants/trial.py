"""One trial: a copy of the repository, the change made in it, and the tests that must notice."""

from tests.mutants.copies import OF_VMS, Copies
from tests.mutants.mutant import Layer, Mutant
from tests.mutants.worker import Worker

SEEDS = 1_000  # of the simulation, at most; a mutant is left alone once it is caught
SECONDS = 600
TESTS_FAILED = 1  # pytest's exit status; every other one means that no test noticed anything


def caught(mutant: Mutant, copies: Copies) -> tuple[bool, str]:
    """Whether its layer noticed, and what it said first."""
    with copies.one(file for file, _, _ in mutant.changes) as worker:
        for file, before, after in mutant.changes:
            text = (worker.copy / file).read_text()
            if text.count(before) != 1:
                return False, f"{file} holds {before!r} {text.count(before)} times, not once"
            (worker.copy / file).write_text(text.replace(before, after))
        if any(file.startswith(OF_VMS) for file, _, _ in mutant.changes):
            # Else a VM would refuse the changed program by its hash, and each test would fail for that.
            generated = worker.run(["infra.vm_files"], SECONDS)
            if generated.status != 0:
                return False, f"infra.vm_files: {_last(generated.stderr)}"
        if mutant.layer is Layer.SIMULATION:
            return _in_the_simulation(mutant, worker)
        return _by_tests(mutant, worker)


def _by_tests(mutant: Mutant, worker: Worker) -> tuple[bool, str]:
    options = ["-q", "-x", "-p", "no:cacheprovider", "-n", "0", "--no-header", "--tb=line"]
    run = worker.run(["pytest", *options, *mutant.tests], SECONDS)
    if run.status is None:
        return True, f"its tests did not end within {SECONDS} s"
    failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED ")]
    if run.status == TESTS_FAILED and failed:
        return True, failed[0]
    return False, _last(run.stdout or run.stderr)


def _in_the_simulation(mutant: Mutant, worker: Worker) -> tuple[bool, str]:
    (promise,) = mutant.tests
    said: list[str] = []
    for first, seeds in worlds(mutant):
        run = worker.run(
            ["tests.simulator.simulation", "--first", str(first), "--seeds", str(seeds), "--as-found",
             "--until", promise],
        )  # fmt: skip
        said = [line for line in run.stdout.splitlines() if line.startswith("seed ")] or run.stderr.splitlines()[-1:]
        ours = [line for line in said if line.startswith("seed ") and f": {promise}:" in line]
        if ours:
            elsewhere = mutant.seed is not None and first != mutant.seed
            return True, f"seed {mutant.seed} shows it no more; {ours[0]}" if elsewhere else ours[0]
    return False, (said or ["nothing was broken"])[0]


def _last(said: str) -> str:
    return (said.splitlines() or ["nothing"])[-1]


def worlds(mutant: Mutant) -> list[tuple[int, int]]:
    """The first world of each play, and how many."""
    return [*([] if mutant.seed is None else [(mutant.seed, 1)]), (0, SEEDS)]
