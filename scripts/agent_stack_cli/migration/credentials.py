"""What must not be shown: values that are credentials, wherever somebody put them."""

import re

HIDDEN = "(hidden)"
_TOKEN = re.compile(
    r"\bbk[a-z]{1,4}_[A-Za-z0-9_-]{8,}"  # Buildkite's tokens
    r"|\b(AKIA|ASIA)[A-Z0-9]{12,}"  # AWS's access keys
    r"|\b(gh[a-z]_|github_pat_|glpat-|xox[a-z]-|dckr_pat_)[A-Za-z0-9_-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|^[0-9a-f]{40,}$"  # Buildkite's older tokens
    r"|://[^/@\s]*:[^/@\s]+@"  # a password in a URL
    r"|[?&](X-Amz-Signature|X-Amz-Security-Token|[Ss]ignature|[Tt]oken)="  # a signed URL
)
_NAMES = re.compile(r"token|password|secret|credential|apikey|private", re.IGNORECASE)


def is_credential(value: str) -> bool:
    """Whether a value looks like a credential."""
    return _TOKEN.search(value) is not None


def shown(name: str, value: str, *, known: bool, secret: bool) -> str:
    """The value as a report may show it. Of unknown parameters the name decides, too."""
    if value and (secret or is_credential(value) or (not known and _NAMES.search(name))):
        return HIDDEN
    return value
