"""Keeps credentials out of texts that come back from the API and may be logged."""

import re

_TOKEN = re.compile(r"\b(?:bkjat|bkct|bkua|bkaj)_[A-Za-z0-9_.\-]+|(?i:\b(?:token|bearer))\s+[A-Za-z0-9_.\-]{8,}")
HIDDEN = "<hidden>"
_SHOWN = 300


def without_credentials(text: str, *secrets: str) -> str:
    """The text with everything that looks like a credential, and each given one, hidden."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return _TOKEN.sub(HIDDEN, text)


def redacted(text: str, *secrets: str) -> str:
    """The same on one line, cropped: for the log."""
    one_line = " ".join(without_credentials(text, *secrets).split())
    return one_line if len(one_line) <= _SHOWN else one_line[: _SHOWN - 1] + "…"
