"""Keeps credentials out of texts that come back from the API and may be logged, and out of texts for build pages."""

import re

_OURS = r"\b(?:bkjat|bkct|bkua|bkaj)_[A-Za-z0-9_.\-]+|\bbk[a-z]{1,4}_[A-Za-z0-9_\-]{8,}"
_JWT = r"\beyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*"
"""Job acquisition tokens and OIDC tokens. The text may be cut off anywhere, so one part is enough."""

_OTHERS = (
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"  # AWS's access keys
    r"|\b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|dckr_pat_|npm_)[A-Za-z0-9_\-]{10,}"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^\-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)
"""Those of other vendors. A key may be cut off anywhere, too."""

_IN_ADDRESS = re.compile(
    r"""(?: (?<=://) [^/@\s:]{0,256}:[^/\s"'<>]{1,256}                               # user:password@host
      | (?<=https://) (?: (?=[^/@\s:]{0,256}[0-9])[^/@\s:]{8,256} | [^/@\s:]{20,256} )  # a token as the user
    ) (?=@)""",
    re.VERBOSE,
)
"""A user such as bot or git, and without a password, is no credential."""

_SIGNED = re.compile(r"(?P<name>[?&][A-Za-z\-]{0,20}(?i:sig|signature)=)[^\s\"'&<>]+")
"""Signatures of addresses that open without a login."""

_NAMED = r"(?i:\b(?:token|bearer))\s+"
_TOKEN = re.compile(rf"{_OURS}|{_JWT}|{_OTHERS}|{_NAMED}[A-Za-z0-9_.\-]{{8,}}")
_TOKEN_IN_PROSE = re.compile(rf"{_OURS}|{_JWT}|{_OTHERS}|{_NAMED}(?=[A-Za-z_.\-]*[0-9])[A-Za-z0-9_.\-]{{8,}}")
"""Among words of people, what follows “token” is a credential only with a figure in it."""

_ASSIGNED = re.compile(
    r"""(?P<name>(?<![0-9]{12}:)(?i:token|secret|passw(?:or)?d|(?:access|api)_?key)\\*["']?\s*)
    (?: (?P<plain>[:=]\s*") (?:[^"\\]|\\.)+                  # "TOKEN": "…"; a backslash hides the quote behind it
      | (?P<within>[:=]\s*\\") (?:[^"\\]|\\\\\\"|\\[^"])+     # the same as JSON within JSON
      | (?P<deeper>[:=]\s*\\{2,}") (?:[^"\\]|\\[^"])+
      | (?P<single>[:=]\s*') (?:[^'\\]|\\.)+
      | (?P<equals>=\s*) [^\s"'\\,;&<>]+          # token=…, of a query, a flag or an environment
      | (?P<colon>:\s*) (?=[A-Za-z_.\-]*[0-9]) [A-Za-z0-9_.\-]{8,}
    )""",
    re.VERBOSE | re.DOTALL,
)
"""The value of a name that ends in one of these words. Name and sign stay, so that people see what was hidden.

What follows an account's number and `secret:` is the name of a secret.
"""

_SIGNS = ("plain", "within", "deeper", "single", "equals", "colon")

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
    text = _SIGNED.sub(rf"\g<name>{HIDDEN}", _IN_ADDRESS.sub(HIDDEN, text))
    return pattern.sub(HIDDEN, _ASSIGNED.sub(_without_value, text))


def _without_value(found: re.Match[str]) -> str:
    sign = next(part for part in found.group(*_SIGNS) if part is not None)
    return found["name"] + sign + HIDDEN
