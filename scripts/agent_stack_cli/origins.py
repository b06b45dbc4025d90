"""Where a recorded job comes from: its pipeline and build, as far as its record keeps them."""

from agent_stack.domain.runs import Run
from agent_stack.domain.texts import ELLIPSIS


def pipeline_of(run: Run) -> str:
    """The pipeline's slug, perhaps cropped; its id where long names left no room for the slug; else empty."""
    return run.origin.pipeline_slug or run.origin.pipeline_id


def build_of(run: Run) -> str:
    """`pipeline #number`; `unknown` where the record has no number or no pipeline."""
    pipeline, number = pipeline_of(run), run.origin.build_number
    return f"{pipeline} #{number}" if pipeline and number is not None else "unknown"


def is_of_build(run: Run, slug: str, number: int) -> bool:
    """Whether it is a job of that pipeline's build. A cropped slug matches each slug that begins like it."""
    kept = run.origin.pipeline_slug
    cropped = kept.endswith(ELLIPSIS) and slug.startswith(kept.removesuffix(ELLIPSIS))
    return run.origin.build_number == number and (kept == slug or cropped)
