"""A job's story as people read it."""

from agent_stack_cli.jobs import RunView, Story
from agent_stack_cli.lines import Line
from agent_stack_cli.output import Output


def show(story: Story, output: Output) -> None:
    """The story for people."""
    if output.as_json:
        output.json(story)
        return
    output.line(f"Job {story.job_id} in {story.stack}", "head")
    output.line(story.summary)
    for number, run in enumerate(story.runs, start=1):
        _show_run(run, f" {number} of {len(story.runs)}" if len(story.runs) > 1 else "", output)
    if story.vm is not None:
        v = story.vm
        output.head("VM")
        output.line(f"{v.instance_id}: {v.state}, {v.instance_type}, {v.capacity_type}, {v.zone}")
        if v.stage:
            output.line(f"Its boot program says: {v.stage}{': ' + v.detail if v.detail else ''}")
    output.head("What the functions logged")
    if story.decisions:
        output.table(
            ("time (UTC)", "function", "level", "message", "facts"),
            [
                (f"{line.at:%H:%M:%S}", line.function, line.level, line.message, _facts(line, story.job_id))
                for line in story.decisions
            ],
        )
    else:
        output.line("nothing, or the logs have expired (LogRetentionDays)", "quiet")
    output.head("Logs")
    for name, url in story.logs.items():
        output.line(f"{name}: {url}")
    if story.next:
        output.line()
        output.line(f"Next: {story.next}")


def _facts(line: Line, job_id: str) -> str:
    return ", ".join(f"{name}: {value}" for name, value in line.facts.items() if value != job_id)


def _show_run(run: RunView, several: str, output: Output) -> None:
    of = f", build {run.build} of {run.pipeline}" if run.pipeline else ""
    output.head(f"Run{several}: {run.outcome or run.state}, class {run.vm_class or 'none'}, queue {run.queue}{of}")
    output.table(
        ("time (UTC)", "seconds", "step"),
        [(f"{s.at:%Y-%m-%d %H:%M:%S}", "" if s.seconds is None else f"+{s.seconds:.1f}", s.step) for s in run.timeline],
    )
    for text in run.tried:
        output.line(f"Tried before: {text}")
    if run.reason:
        output.line(f"Reason: {run.reason}", "warning")
    if run.notifications:
        output.line(f"Notified on the build page: {', '.join(run.notifications)}")
