"""A copy in which mutants are tried is as the repository before each trial, and compiles only what is its own."""

import sysconfig
from pathlib import Path

from infra import vm_files
from tests.mutants.copies import ROOT, fill_bytecode, restore


def test_what_a_trial_changed_and_what_was_generated_from_it_is_as_before(tmp_path: Path) -> None:
    files = [Path("infra/vm/hold.sh"), *(file.relative_to(ROOT) for file in vm_files.FILES)]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("changed")
    restore(tmp_path, ["infra/vm/hold.sh"])
    assert [(tmp_path / file).read_bytes() == (ROOT / file).read_bytes() for file in files] == [True] * len(files)


def test_bytecode_that_another_process_writes_at_this_moment_stays_and_the_libraries_is_shared(tmp_path: Path) -> None:
    compiled, bytecode, copy = tmp_path / "compiled", tmp_path / "bytecode", tmp_path / "copy"
    ours = compiled.joinpath(*ROOT.parts[1:])
    library = compiled.joinpath(*Path(sysconfig.get_path("purelib")).parts[1:])
    for directory in (ours / "functions", ours / ".venv", library):
        directory.mkdir(parents=True)
    for file in (ours / "functions/a.pyc", ours / "functions/b.pyc.140", library / "c.pyc"):
        file.touch()
    fill_bytecode(copy, compiled, bytecode)
    filled = bytecode.joinpath(*copy.parts[1:])
    assert {file.name for file in filled.rglob("*.pyc*")} == {"a.pyc"}
    assert bytecode.joinpath(*library.relative_to(compiled).parts, "c.pyc").samefile(library / "c.pyc")
