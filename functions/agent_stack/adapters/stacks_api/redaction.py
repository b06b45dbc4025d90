"""Keeps credentials out of texts that come back from the API and may be logged."""

import re

_TOKEN = re.compile(r"\b(?:bkjat|bkct|bkua|bkaj)_[A-Za-z0-9_.\-]+|(?i:\b(?:token|bearer))\s+[A-Za-z0-9_.\-]{8,}")
HIDDEN = "<hidden>"
_SHOWN = 300


def redacted(text: str, *secrets: str) -> str:
    """The text on one line, cropped, with everything that looks like a credential, and each given one, hidden."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    one_line = " ".join(_TOKEN.sub(HIDDEN, text).split())
    return one_line if len(one_line) <= _SHOWN else one_line[: _SHOWN - 1] + "…"
