"""Findings: what is wrong with a deployment, as the dispatcher's inspection and the operator's command say it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: which look found it, such as `token` or `class large`.
        severity: `error` when jobs do not run because of it, else `warning`.
        problem: what is wrong, in the words of the service that said so.
        effect: what happens because of it.
        remedy: what to do.
    """

    check: str
    severity: str
    problem: str
    effect: str
    remedy: str


def not_examined(check: str, why: str, remedy: str) -> Finding:
    """That a look could not be taken. Nobody knows what it would have found, so it is no error."""
    return Finding(
        check=check,
        severity="warning",
        problem=f"not examined: {why}",
        effect="What may be wrong there is not known.",
        remedy=remedy,
    )
