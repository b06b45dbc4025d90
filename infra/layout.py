"""docs/images/layout.svg, from the code: every room of functions/, its files, and which room imports which.

The rows are the layers of the import contract in pyproject.toml; the arrows are the imports that the files make.
"""

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "layout.svg"
BESIDE = ("infra", "tests")
"""Folders that never ship. The picture shows what they import."""

WIDTH, MARGIN, GAP, ROW_GAP = 1000, 14, 10, 34
PAD, TITLE, LINE, FOOT = 8, 18, 15, 34
SMALL, CHARACTER = 12, 6.8
"""Size of the text in a box, and the width of its average character, in pixels."""

CAPTION = "An arrow means: imports. An arrow is left out when it follows from others. All imports point down."

COLOURS = ("#e8f0fe", "#e6f4ea", "#fef7e0", "#fce8e6", "#f3e8fd", "#e0f2f1")
HEAD = """<!-- Written by scripts/generate from the imports in functions/. -->
<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' markerHeight='8' orient='auto'>
<path d='M0,0 L8,4 L0,8 z' fill='#5f6368'/></marker></defs>
<rect width='100%' height='100%' fill='white'/>"""
STYLE = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A package or module of functions/ that one layer of the import contract names.

    Attributes:
        about: the first sentence of its docstring.
        files: its modules and sub-packages, in order.
        imports: the other rooms that its files import.
    """

    name: str
    about: str
    files: tuple[str, ...]
    imports: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A room at its place, in pixels."""

    room: Room
    x: float
    y: float
    width: float
    height: float


def picture(root: Path = ROOT) -> str:
    """The picture of the repository at this path, as SVG text. The same code gives the same text.

    Raises:
        ValueError: a room of functions/ is in no layer of the import contract.
    """
    layers = _layers(root)
    names = [name for layer in layers for name in layer]
    if missing := sorted(_top_level(root / "functions") - set(names)):
        raise ValueError(f"pyproject.toml: the layers contract lacks {', '.join(missing)}")
    rooms = {name: _room(root / "functions", name, names) for name in names}
    boxes = _placed(layers, rooms)
    folders = [root / folder for folder in BESIDE if (root / folder).is_dir()]
    bottom = max(box.y + box.height for box in boxes.values())
    height = bottom + ROW_GAP + FOOT * len(folders) + LINE + MARGIN
    arrows = [_arrow(boxes[source], boxes[target]) for source in names for target in sorted(_shown(rooms)[source])]
    drawn = [_drawn(box, COLOURS[row % len(COLOURS)]) for row, layer in enumerate(layers) for box in _of(layer, boxes)]
    beside = [_beside(folder, names, bottom + ROW_GAP + FOOT * index) for index, folder in enumerate(folders)]
    size = f"viewBox='0 0 {WIDTH} {height:g}' width='{WIDTH}' height='{height:g}'"
    caption = f"<text x='{MARGIN}' y='{height - MARGIN:g}' font-size='{SMALL}' fill='#5f6368'>{CAPTION}</text>"
    svg = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} {STYLE}>",
        HEAD,
        *arrows,
        *drawn,
        *beside,
        caption,
        "</svg>",
    ]
    return "\n".join([*svg, ""])


def imported(path: Path) -> Iterator[str]:
    """The modules that a Python file imports, by their full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _layers(root: Path) -> list[list[str]]:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers: Sequence[str] = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [layer.split(" | ") for layer in layers]


def _top_level(functions: Path) -> set[str]:
    """Every package or module directly under functions/agent_stack, and every other package of functions/."""
    inside = {f"agent_stack.{path.stem}" for path in _modules(functions / "agent_stack")}
    others = {path.parent.name for path in functions.glob("*/__init__.py")} - {"agent_stack"}
    return inside | others


def _modules(folder: Path) -> list[Path]:
    packages = [path.parent for path in folder.glob("*/__init__.py")]
    return sorted([*packages, *(path for path in folder.glob("*.py") if path.stem != "__init__")])


def _room(functions: Path, name: str, names: Sequence[str]) -> Room:
    folder = functions.joinpath(*name.split("."))
    module = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [module]
    about = ast.get_docstring(ast.parse(module.read_text())) or ""
    return Room(
        name=name,
        about=_sentence(about),
        files=tuple(path.stem + "/" * path.is_dir() for path in _modules(folder)) if folder.is_dir() else (),
        imports=_rooms_of((target for path in files for target in imported(path)), names) - {name},
    )


def _sentence(docstring: str) -> str:
    """The first sentence, without the name of the room before a colon."""
    first = " ".join(docstring.split()).split(". ")[0].split(": ", 1)[-1].rstrip(".").replace("`", "")
    return first[:1].upper() + first[1:]


def _rooms_of(modules: Iterator[str], names: Sequence[str]) -> frozenset[str]:
    return frozenset(name for module in modules for name in names if module == name or module.startswith(name + "."))


def _shown(rooms: Mapping[str, Room]) -> Mapping[str, frozenset[str]]:
    """The imports without those that follow from others: where A imports B and B imports C, A to C is left out."""

    def reached(name: str) -> frozenset[str]:
        return rooms[name].imports.union(*map(reached, rooms[name].imports))

    return {name: room.imports.difference(*map(reached, room.imports)) for name, room in rooms.items()}


def _placed(layers: Sequence[Sequence[str]], rooms: Mapping[str, Room]) -> Mapping[str, Box]:
    """The widest layer gets one column for each room; a room of another layer spans the columns of its neighbours."""
    widest = max(layers, key=len)
    step = (WIDTH - 2 * MARGIN + GAP) / len(widest)
    columns = {name: (index, index) for index, name in enumerate(widest)}
    shown = _shown(rooms)
    at = layers.index(widest)
    for layer in layers[at + 1 :]:
        for name in layer:
            near = [columns[other] for other in columns if name in shown[other]] or [(0, len(widest) - 1)]
            columns[name] = (min(first for first, _ in near), max(last for _, last in near))
    for name in (name for layer in layers[:at] for name in layer):
        columns[name] = (0, len(widest) - 1)
    boxes: dict[str, Box] = {}
    y = float(MARGIN)
    for layer in layers:
        spans = {name: step * (columns[name][1] - columns[name][0] + 1) - GAP for name in layer}
        lines = max(len(_lines(rooms[name], width)) for name, width in spans.items())
        height = 2 * PAD + TITLE + LINE * lines
        for name, width in spans.items():
            x = MARGIN + step * columns[name][0]
            boxes[name] = Box(room=rooms[name], x=round(x, 1), y=y, width=round(width, 1), height=height)
        y += height + ROW_GAP
    return boxes


def _lines(room: Room, width: float) -> list[tuple[str, bool]]:
    """The lines of a box below its title; True for those that name files."""
    characters = int((width - 2 * PAD) / CHARACTER)
    about = wrap(room.about, characters)
    narrow = width < WIDTH / 3
    files = list(room.files) if narrow else wrap("   ".join(room.files), characters)
    space = [("", True)] if narrow and files else []
    return [*((line, False) for line in about), *space, *((line, True) for line in files)]


def _of(layer: Sequence[str], boxes: Mapping[str, Box]) -> list[Box]:
    return [boxes[name] for name in layer]


def _drawn(box: Box, colour: str) -> str:
    title = box.room.name.removeprefix("agent_stack.") + ("/" if box.room.files else ".py")
    x, y = box.x + PAD, box.y + PAD + 12
    texts = [f"<text x='{x:g}' y='{y:g}' font-size='15' font-weight='bold' fill='#202124'>{escape(title)}</text>"]
    for index, (line, is_file) in enumerate(_lines(box.room, box.width), start=1):
        fill, slant = ("#202124", "normal") if is_file else ("#5f6368", "italic")
        texts.append(
            f"<text x='{x:g}' y='{y + 3 + LINE * index:g}' font-size='{SMALL}' font-style='{slant}' fill='{fill}' "
            f"xml:space='preserve'>{escape(line)}</text>"
        )
    frame = (
        f"<rect x='{box.x:g}' y='{box.y:g}' width='{box.width:g}' height='{box.height:g}' rx='6' fill='{colour}' "
        "stroke='#9aa0a6'/>"
    )
    return "\n".join([frame, *texts])


def _arrow(source: Box, target: Box) -> str:
    """Straight down through the middle of what both span; slanted where they share no column."""
    left, right = max(source.x, target.x), min(source.x + source.width, target.x + target.width)
    shared = right > left
    start = (left + right) / 2 if shared else source.x + source.width / 2
    end = start if shared else target.x + target.width / 2
    return (
        f"<line x1='{start:g}' y1='{source.y + source.height:g}' x2='{end:g}' y2='{target.y:g}' stroke='#5f6368' "
        "stroke-width='1.5' marker-end='url(#head)'/>"
    )


def _beside(folder: Path, names: Sequence[str], y: float) -> str:
    files = sorted(folder.rglob("*.py"))
    rooms = _rooms_of((target for path in files for target in imported(path)), names)
    every = "every room above"
    shown = every if len(rooms) == len(names) else ", ".join(name.rpartition(".")[2] for name in names if name in rooms)
    inside = ", ".join(f"{path.name}/" for path in sorted(folder.iterdir()) if any(path.glob("**/*.py")))
    text = f"{folder.name}/ never ships; imports {shown}" + (f" · {inside}" if inside else "")
    return (
        f"<rect x='{MARGIN}' y='{y:g}' width='{WIDTH - 2 * MARGIN}' height='{FOOT - GAP}' rx='6' fill='#f1f3f4' "
        f"stroke='#9aa0a6' stroke-dasharray='4 3'/>\n"
        f"<text x='{MARGIN + PAD}' y='{y + 16:g}' font-size='{SMALL}' fill='#202124'>{escape(text)}</text>"
    )
