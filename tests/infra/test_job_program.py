"""The program for a job's AWS access: root puts functions of the boot program in front of it, and what they call."""

import re
import subprocess

from infra.user_data import first_stage, second_stage

MAIN = re.compile(r'^"\$@"$', re.MULTILINE)


def bash(script: str) -> list[str]:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()


def functions_of(text: str) -> dict[str, set[str]]:
    """The functions of a program, as bash itself reads them, with the words that each may call."""
    found: dict[str, set[str]] = {}
    for name in re.findall(r"^([\w-]+) ?\(\)", text, re.MULTILINE):
        body = re.search(rf"^{re.escape(name)} ?\(\)(.*?)(?=^[\w-]+ ?\(\)|\Z)", text, re.MULTILINE | re.DOTALL)
        assert body is not None
        called = r"(?:^|[;&|({!]|\b(?:if|until|while|then|do|else))\s*([\w-]+)"
        found[name] = set(re.findall(called, body[1], re.MULTILINE))
    return found


def test_each_function_that_the_jobs_program_calls_is_in_it() -> None:
    """A call that is missing there is an AWS request that no job can make."""
    boot = functions_of(first_stage() + second_stage())
    whole = second_stage()
    shared = set(re.findall(r"[\w]+", whole.partition("SHARED=(")[2].partition(")")[0]))
    program = whole.partition("<<'PROGRAM'\n")[2].partition("\nPROGRAM\n")[0]
    assert MAIN.search(program), "the program of the job was not found"
    own = functions_of(program)
    assert shared <= set(boot)
    called = set().union(*own.values(), *(boot[name] for name in shared - set(own)))
    assert len(called & shared) > len(shared) // 2, "calls were not found"
    assert called & set(boot) <= shared | set(own)


def test_the_jobs_program_is_bash() -> None:
    program = second_stage().partition("<<'PROGRAM'\n")[2].partition("\nPROGRAM\n")[0]
    assert bash(f"whole() {{\n{program}\n}}\ndeclare -F whole") == ["whole"]
