"""The status of a stack as people read it."""

from agent_stack_cli.output import Output, ago, span
from agent_stack_cli.records import FUNCTIONS
from agent_stack_cli.stacks import Stack
from agent_stack_cli.status import ERRORS_SINCE, Status

MOST_JOBS = 50


def show(status: Status, stack: Stack, output: Output) -> None:  # noqa: C901, PLR0912  (one paragraph after the other)
    """The view for people."""
    if output.as_json:
        output.json(status)
        return
    output.line(f"{status.stack} in {status.region}, {status.at:%Y-%m-%d %H:%M:%S} UTC", "head")
    stopped = []
    if status.paused:
        stopped.append(f"launches are paused since {status.paused}. Resume: {stack.agent_stack('resume')}")
    if not status.launch_enabled:
        stopped.append("LaunchEnabled is false: nothing is launched until a deployment sets it to true")
    if status.observe_only:
        stopped.append("ObserveOnly is true: the functions decide, log and change nothing")
    if status.cloudformation.endswith("_IN_PROGRESS") or "FAILED" in status.cloudformation:
        stopped.append(f"CloudFormation: {status.cloudformation}")
    for text in stopped:
        output.line(text, "warning")
    for function in status.functions:
        if function.function == FUNCTIONS[0] and not function.works:
            output.line(
                f"The {function.function} runs no cycle now. It is invoked each minute; when this stays, run: "
                + stack.agent_stack("doctor"),
                "warning",
            )
    output.head("Queues")
    output.table(
        ("queue", "reserved", "booting", "running", "waiting", "paused"),
        [(q.queue, q.reserved, q.booting, q.running, q.waiting, q.paused or "no") for q in status.queues],
    )
    output.head("Waiting jobs")
    if status.waiting:
        output.table(
            ("jobs", "queue", "class", "why", "first"),
            [(w.count, w.queue, w.vm_class, w.words, " ".join(w.first_jobs[:1])) for w in status.waiting],
        )
    else:
        output.line("none that has waited for half a minute", "quiet")
    if status.vms is not None:
        output.head("VMs")
        output.table(
            ("class", "phase", "count", "oldest"),
            [(v.vm_class, v.phase, v.count, ago(v.oldest, status.at)) for v in status.vms],
        )
        if not status.vms:
            output.line("none", "quiet")
    if status.held:
        output.head("VMs held for you, because their boot failed")
        output.table(
            ("VM", "class", "until", "connect"),
            [(h.instance_id, h.vm_class, f"{h.until:%H:%M:%S} UTC", h.connect) for h in status.held],
        )
    if status.jobs:
        output.head("Jobs and their VMs")
        output.table(
            ("job", "queue", "class", "phase", "for", "attempt", "VM", "type", "zone"),
            [
                (
                    j.job_id, j.queue, j.vm_class, j.phase, span(status.at - j.since), j.attempt,
                    j.instance_id or "none", j.instance_type, j.zone,
                )
                for j in status.jobs[:MOST_JOBS]
            ],
        )  # fmt: skip
        if len(status.jobs) > MOST_JOBS:
            output.line(f"… and {len(status.jobs) - MOST_JOBS} more; --json lists all", "quiet")
    output.head("Budgets")
    output.table(
        ("bound", "taken", "of"),
        [
            (b.bound, "unknown" if b.taken is None else b.taken, "no limit" if b.limit is None else b.limit)
            for b in status.budgets
        ],
    )
    if status.breakers:
        output.head("Unavailable for now")
        output.table(
            ("what", "for", "because"), [(b.what, span(b.until - status.at), b.because) for b in status.breakers]
        )
    if status.errors:
        output.head(f"Errors of the last {ERRORS_SINCE.total_seconds() / 60:.0f} minutes")
        output.table(
            ("message", "function", "times", "latest", "said"),
            [(e.message, e.function, e.count, ago(e.latest, status.at), e.said) for e in status.errors],
        )
    for text in status.unreadable:
        output.line(f"Not shown: {text}", "error")
