"""Keeps credentials out of texts that come back from the API and may be logged, and out of texts for build pages."""

import re

_OURS = r"\b(?:bkjat|bkct|bkua|bkaj)_[A-Za-z0-9_.\-]+"
_NAMED = r"(?i:\b(?:token|bearer))\s+"
_TOKEN = re.compile(rf"{_OURS}|{_NAMED}[A-Za-z0-9_.\-]{{8,}}")
_TOKEN_IN_PROSE = re.compile(rf"{_OURS}|{_NAMED}(?=[A-Za-z_.\-]*[0-9])[A-Za-z0-9_.\-]{{8,}}")
"""Among words of people, what follows “token” is a credential only with a figure in it."""

HIDDEN = "<hidden>"
_SHOWN = 300


def redacted(text: str, *secrets: str) -> str:
    """The text on one line, cropped, with everything that looks like a credential, and each given one, hidden."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    one_line = " ".join(_TOKEN.sub(HIDDEN, text).split())
    return one_line if len(one_line) <= _SHOWN else one_line[: _SHOWN - 1] + "…"


def without_credentials(text: str) -> str:
    """A text for people, line by line as it is, with what looks like a credential hidden."""
    return _TOKEN_IN_PROSE.sub(HIDDEN, text)
