"""What botocore knows of AWS's services, read once a process.

Each session of botocore reads the models anew, a quarter of a second for EC2's; a suite makes hundreds of sessions.
"""

from functools import cache

import botocore.session
from botocore.loaders import create_loader


def read_once() -> None:
    """Let all sessions of this process share one loader, which keeps what it read."""
    botocore.session.create_loader = cache(create_loader)  # where sessions look for it
