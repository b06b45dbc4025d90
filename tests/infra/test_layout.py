"""docs/images/layout.svg shows the code as it is."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra import layout

FUNCTIONS = layout.ROOT / "functions"
ROOMS = {
    "agent_stack/__init__.py": "",
    "agent_stack/top/__init__.py": '"""Top: does one thing. Then another."""',
    "agent_stack/top/work.py": "from agent_stack import middle\nfrom agent_stack.bottom import VALUE",
    "agent_stack/middle.py": "import agent_stack.bottom",
    "agent_stack/bottom.py": "VALUE = 1",
}
LAYERS = ("agent_stack.top", "agent_stack.middle", "agent_stack.bottom")


def a_repository(root: Path, files: Mapping[str, str], layers: tuple[str, ...] = LAYERS) -> Path:
    contract = f'[[tool.importlinter.contracts]]\ntype = "layers"\nlayers = {list(layers)}\n'
    (root / "pyproject.toml").write_text(contract)
    for name, text in files.items():
        path = root / "functions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def texts(picture: str) -> list[str]:
    return [word for text in re.findall(r">([^<]+)</text>", picture) for word in text.split()]


def test_every_file_that_ships_is_named() -> None:
    named = texts(layout.picture())
    for path in FUNCTIONS.glob("agent_stack/**/*.py"):
        room, *inside = path.relative_to(FUNCTIONS / "agent_stack").with_suffix("").parts
        if inside and path.stem != "__init__":
            assert f"{room}/" in named
            assert (inside[0] if len(inside) == 1 else f"{inside[0]}/") in named, path
        elif not inside and path.stem != "__init__":
            assert f"{room}.py" in named, path


def test_an_arrow_is_an_import_that_no_other_path_implies(tmp_path: Path) -> None:
    picture = layout.picture(a_repository(tmp_path, ROOMS))
    assert picture.count("<line") == len([("top", "middle"), ("middle", "bottom")])
    apart = {**ROOMS, "agent_stack/middle.py": ""}
    assert layout.picture(a_repository(tmp_path, apart)).count("<line") == len([("top", "middle"), ("top", "bottom")])


def test_a_room_says_what_it_is_in_the_first_sentence_of_its_docstring(tmp_path: Path) -> None:
    assert ">Does one thing<" in layout.picture(a_repository(tmp_path, ROOMS))


def test_the_same_code_gives_the_same_picture(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    backwards = dict(reversed(ROOMS.items()))
    pictures = [
        layout.picture(a_repository(tmp_path / name, files)) for name, files in (("one", ROOMS), ("other", backwards))
    ]
    assert pictures[0] == pictures[1]


def test_a_room_without_a_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"agent_stack\.middle"):
        layout.picture(a_repository(tmp_path, ROOMS, layers=("agent_stack.top", "agent_stack.bottom")))
