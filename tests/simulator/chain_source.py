"""The source of the wiring, with one stage taken out: what the functions are copied with in the real-time runs."""

import ast
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
CHAINS = (Path("agent_stack/dispatcher/chain.py"), Path("agent_stack/tracker/chain.py"))


class _TakenOut(ast.NodeTransformer):
    """Leaves a stage out of every tuple, however it is written there: made in place, by a name, or wrapped."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._names = {stage}
        self.found = 0

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """`notices = RememberNotices(…)`: the name stands for the stage."""
        if isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            self._names = self._names | {name} if self._makes(node.value) else self._names - {name}
        return self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        """`(Poll(…), BestEffort(step=progress, …))`: a chain, or a part of one."""
        self.generic_visit(node)
        kept = [element for element in node.elts if not self._makes(element)]
        self.found += len(node.elts) - len(kept)
        node.elts = kept
        return node

    def _makes(self, element: ast.expr) -> bool:
        if isinstance(element, ast.Call):
            wrapped = [keyword.value for keyword in element.keywords if keyword.arg == "step"]
            return self._is(element.func) or any(map(self._makes, wrapped))
        return self._is(element)

    def _is(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._names


def without(stage: str, *sources: str) -> list[str]:
    """The sources of the chains without that stage; as they are when no stage is named.

    Raises:
        ValueError: no chain has that stage, or it stands in more than one place.
    """
    if not stage:
        return [*sources]
    transformers = [_TakenOut(stage) for _ in sources]
    made = [
        ast.unparse(transformer.visit(ast.parse(source)))
        for transformer, source in zip(transformers, sources, strict=True)
    ]
    found = sum(transformer.found for transformer in transformers)
    if found != 1:
        raise ValueError(f"the chains have the stage {stage} {found} times, not once")
    return made
