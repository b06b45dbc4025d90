"""The job's own program gets every function that what it shares with the boot program calls."""

import re
from collections.abc import Mapping

from infra.user_data import VM

FUNCTION = re.compile(r"^([a-z][a-z0-9_]*)\(\) \{(?: ([^\n]*) \}$|\n(.*?)^\}$)", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"(?<![\w$\[{/.-])[a-z][a-z0-9_]*(?![\w\]}=.-])")


def functions(text: str) -> Mapping[str, str]:
    """Bodies by name, without comments and what stands in single quotes."""
    bodies = {name: short + body for name, short, body in FUNCTION.findall(text)}
    found = {name: re.sub(r"'[^'\n]*'|(^|\s)#[^\n]*", " ", body) for name, body in bodies.items()}
    return {name: re.sub(r"\b(local|declare) [^\n;&|]*", " ", body) for name, body in found.items()}


def test_what_a_shared_function_calls_is_shared() -> None:
    boot: dict[str, str] = {}
    for file in sorted(VM.glob("*.sh")):
        boot |= functions(file.read_text())
    named = re.search(r"^SHARED=\(\n(.*?)^\)", (VM / "job_access.sh").read_text(), re.MULTILINE | re.DOTALL)
    assert named is not None
    shared = set(named[1].split())
    assert shared <= boot.keys(), "each is a function of the boot program"
    program = (VM / "job" / "aws").read_text()
    own = functions(program)
    missing = {
        (name, word)
        for name in shared - own.keys()
        for word in WORD.findall(boot[name])
        if word in boot and word not in shared and word not in own
    }
    assert missing == set()
