"""Keeps credentials out of texts that come back from the API and may be logged, and out of texts for build pages."""

import re

_OURS = r"\b(?:bkjat|bkct|bkua|bkaj)_[A-Za-z0-9_.\-]+"
_JWT = r"\beyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*"
"""Job acquisition tokens and OIDC tokens. The text may be cut off anywhere, so one part is enough."""

_NAMED = r"(?i:\b(?:token|bearer))\s+"
_TOKEN = re.compile(rf"{_OURS}|{_JWT}|{_NAMED}[A-Za-z0-9_.\-]{{8,}}")
_TOKEN_IN_PROSE = re.compile(rf"{_OURS}|{_JWT}|{_NAMED}(?=[A-Za-z_.\-]*[0-9])[A-Za-z0-9_.\-]{{8,}}")
"""Among words of people, what follows “token” is a credential only with a figure in it."""

_ASSIGNED = re.compile(
    r"""(?P<name>(?i:token|secret|password|access_key)\\*["']?\s*)
    (?: (?P<plain>[:=]\s*") (?:[^"\\]|\\.)+                  # "TOKEN": "…"; a backslash hides the quote behind it
      | (?P<within>[:=]\s*\\") (?:[^"\\]|\\\\\\"|\\[^"])+     # the same as JSON within JSON
      | (?P<deeper>[:=]\s*\\{2,}") (?:[^"\\]|\\[^"])+
      | (?P<single>[:=]\s*') (?:[^'\\]|\\.)+
      | (?P<equals>=\s*) [^\s"'\\,;&<>]+          # token=…, of a query, a flag or an environment
      | (?P<colon>:\s*) (?=[A-Za-z_.\-]*[0-9]) [A-Za-z0-9_.\-]{8,}
    )""",
    re.VERBOSE | re.DOTALL,
)
"""The value of a name that ends in one of these words. Name and sign stay, so that people see what was hidden."""

_SIGNS = ("plain", "within", "deeper", "single", "equals", "colon")

_IN_URL = re.compile(
    r"""(?P<web>\bhttps?://) [^\s/"'<>]+ @
      | (?P<other>\b[A-Za-z][A-Za-z0-9+.\-]*://) [^\s/"'<>:]* : [^\s/"'<>]* @""",
    re.VERBOSE,
)
"""User and password. A name alone may be a token in a URL of the web, and is a login such as `git` in others."""

HIDDEN = "<hidden>"
_SHOWN = 300


def redacted(text: str, *secrets: str) -> str:
    """The text on one line, cropped, with everything that looks like a credential, and each given one, hidden."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    one_line = " ".join(_hidden(_TOKEN, text).split())
    return one_line if len(one_line) <= _SHOWN else one_line[: _SHOWN - 1] + "…"


def without_credentials(text: str) -> str:
    """A text for people, line by line as it is, with what looks like a credential hidden."""
    return _hidden(_TOKEN_IN_PROSE, text)


def _hidden(pattern: re.Pattern[str], text: str) -> str:
    text = _IN_URL.sub(lambda found: f"{found['web'] or found['other']}{HIDDEN}@", text)
    return pattern.sub(HIDDEN, _ASSIGNED.sub(_without_value, text))


def _without_value(found: re.Match[str]) -> str:
    sign = next(part for part in found.group(*_SIGNS) if part is not None)
    return found["name"] + sign + HIDDEN
