"""Words that a reader does not know from AWS, Buildkite or Kubernetes, each with the plain word to use in its place.

A pattern says the sense where a word has a plain one, too: a look at something is plain, `each look` is not.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OddWord:
    """A pattern, and what to write in its place."""

    pattern: re.Pattern[str]
    say: str


def _odd(pattern: str, say: str) -> OddWord:
    return OddWord(re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE), say)


ODD_WORDS = (
    _odd(r"ticks?|ticked off", "cycle"),
    _odd(r"(?:each|every|the next|a later|one|two|other|between) looks?(?! (?:at|for|like|into|up))", "cycle"),
    _odd(r"change of shift|shift_\w+|relieved", "handover, lease holder"),
    _odd(r"knock(?:s|ed|ing)?", "signal"),
    _odd(r"news", "event, notification"),
    _odd(r"batons?", "credential, credential holder"),
    _odd(r"(?:is|are|be|was|were|been|not|pages?|jobs?|people|each) told", "notified, sent"),
    _odd(r"tells? (?:the|its|a|each|every|build) (?:build )?pages?", "notify"),
    _odd(r"hand(?:s|ed|ing)? back", "requeue"),
    _odd(r"(?:gives?|gave|given|giving) up", "fail the job"),
    _odd(r"dry (?:spot )?pools?|pools? (?:is|are|runs?|ran) dry", "unavailable pool"),
    _odd(r"pools? rest(?:s|ing)?|resting|left alone", "unavailable, cooldown"),
    _odd(r"brak(?:e|es|ed)", "safety limit"),
    _odd(r"sweeps?|sweeping|swept", "orphan cleanup"),
    _odd(r"last words", "failure report"),
    _odd(r"job tokens?", "job acquisition token"),
    _odd(r"mend(?:s|ed|ing)?", "fix"),
    _odd(r"of (?:ours|yours)", "existing, managed by this stack"),
    _odd(r"anew", "again"),
    _odd(r"nobody|whoever|somebody", "name who it is"),
    _odd(r"stor(?:y|ies)", "history, scenario"),
    _odd(r"ambush(?:es)?|yards?|universes?", "fault injection, fixture, simulation"),
    _odd(r"as it should be", "PASS, FAIL"),
    _odd(r"markets|(?:spot|full|other|each|which|every) market", "capacity type"),  # `market` is a field of a class
    _odd(r"for (?:it|they|there|nothing|none) (?:is|are|was|has|have|may|would|could|cannot|does)", "because"),
)
