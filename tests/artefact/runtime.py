"""Lambda's side of a process: the runtime client and what it needs, in a directory without anything else."""

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

CLIENT = "awslambdaric"


def lay_out(directory: Path) -> Path:
    """Copy the installed runtime client there, so that a process can have it and nothing installed beside it."""
    waiting, done = [CLIENT], set[str]()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        package = distribution(name)
        for file in package.files or ():
            source = Path(str(package.locate_file(file)))
            if source.is_file() and ".." not in file.parts:
                target = directory / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        waiting += [
            re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            for requirement in package.requires or ()
            if "extra ==" not in requirement
        ]
    return directory
