"""A thousand VMs at one parameter store, on a virtual clock, with the pauses of the boot program as it ships."""

import heapq
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from infra.user_data import VM

DRIVER = 'source "$1/requests.sh"; while read -r tries left; do backoff "$tries" "$left"; echo "$delay"; done'


class Bucket:
    """Answers so many calls a second, and has room for as many at once."""

    def __init__(self, *, calls_a_second: float) -> None:
        self._rate = self._level = calls_a_second
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether a call at that moment is answered; moments never go back."""
        self._level = min(self._rate, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


@contextmanager
def _backoff() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        ["bash", "-c", DRIVER, "bash", str(VM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={"PATH": os.defpath},
    ) as process:
        yield process
        process.terminate()


def failed_boots(*, vms: int, calls_each: int, window: int, store: Bucket, call_seconds: float = 0.15) -> int:
    """How many of the VMs, all booted at once, give up.

    Args:
        calls_each: one after the other; each is tried for `window` seconds.
    """
    failed = 0
    with _backoff() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        events = [(number / vms, number, calls_each, 0, number / vms + window) for number in range(vms)]
        heapq.heapify(events)
        while events:
            now, number, left, tries, until = heapq.heappop(events)
            if store.take(now):
                if left > 1:
                    heapq.heappush(events, (now + call_seconds, number, left - 1, 0, now + call_seconds + window))
                continue
            answered, tries = now + call_seconds, tries + 1
            if int(answered) >= int(until):
                failed += 1
                continue
            process.stdin.write(f"{tries} {int(until) - int(answered)}\n")
            delay = float(process.stdout.readline())
            heapq.heappush(events, (answered + delay, number, left, tries, until))
    return failed
