"""The files that carry the VM's program: the template, the functions' copy of the second stage, and the baked image.

`python -m infra.vm_files` writes them alone, in a tenth of the time that `scripts/generate` takes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from infra import additions, baked_program, host_keys, user_data

FILES = (user_data.TEMPLATE, user_data.PROGRAM, baked_program.IMAGE)


def wanted() -> Mapping[Path, str]:
    """What must stand in them."""
    return {
        user_data.TEMPLATE: user_data.generated(host_keys.generated(user_data.TEMPLATE.read_text())),
        user_data.PROGRAM: user_data.second_stage(),
        baked_program.IMAGE: additions.generated(baked_program.generated(baked_program.IMAGE.read_text())),
    }


def stale(files: Mapping[Path, str]) -> Sequence[Path]:
    """Those in which something else stands."""
    return [path for path, text in files.items() if not path.exists() or path.read_text() != text]


if __name__ == "__main__":
    files = wanted()
    for path in stale(files):
        path.write_text(files[path])
