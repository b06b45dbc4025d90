"""Opaque page cursors: where a page ended, in a form no client can read anything into."""

import base64
import binascii
from datetime import datetime

from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.jobs import Position
from tests.simulator.buildkite.rules import Refusal, Rule


def cursor_behind(job: Job) -> str:
    """A cursor for the page that begins behind this scheduled job."""
    return base64.urlsafe_b64encode(f"{job.scheduled_at.isoformat()} {job.sequence}".encode()).decode()


def position_of(cursor: str) -> Position:
    """The position a cursor stands for.

    Raises:
        Refusal: 400, this service never issued such a cursor.
    """
    try:
        scheduled_at, sequence = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        return datetime.fromisoformat(scheduled_at), int(sequence)
    except (ValueError, binascii.Error) as error:
        raise Refusal(400, "after is not a cursor", rule=Rule.QUERY) from error
