"""The boot program's second stage: which launch template versions name it, and when it may go."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

MARGIN = timedelta(hours=1)
"""For clocks that differ, and for a launch whose VMs EC2 shows late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmProgram:
    """One second stage: a text that a VM trusts because user data names its hash."""

    text: str

    @property
    def sha256(self) -> str:
        """Of the text in UTF-8, as 64 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedProgram:
    """A second stage that VMs can read.

    Attributes:
        superseded_at: since when another one is the current one; None for the current one.
    """

    sha256: str
    superseded_at: datetime | None


def removable(
    published: PublishedProgram,
    *,
    oldest_launch: datetime | None,
    oldest_vm: datetime | None,
    max_lifetime: timedelta,
    now: datetime,
) -> bool:
    """Whether no launch and no VM can name it any more.

    A launch that is still open and older than its successor may be replayed, and its VMs would ask for it. No VM of it
    lives longer than the longest lifetime after that. A VM of an active run that is older than the successor keeps the
    program in any case: MaxLifetimeSeconds may have been longer when that VM was launched.

    Args:
        oldest_launch: when the oldest open launch was written down; None when there is none.
        oldest_vm: when the oldest VM of an active run was launched; None when there is none.
    """
    if published.superseded_at is None:
        return False
    namers = [at for at in (oldest_launch, oldest_vm) if at is not None]
    if any(at <= published.superseded_at + MARGIN for at in namers):
        return False
    return now - published.superseded_at > max_lifetime + MARGIN
