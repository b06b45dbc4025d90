"""A picture of the build page, drawn by a headless Chromium."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.simulator.demo.web import page_html

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1000, 860
"""As a README shows it without making its letters much smaller."""

_SECONDS: Final = 60.0


class NoBrowserError(OSError):
    """There is no Chromium on this machine."""


def browser() -> str:
    """The browser's path.

    Raises:
        NoBrowserError: says what to install.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise NoBrowserError("No Chromium here. On Debian: apt install chromium. On Ubuntu: snap install chromium")
    return found


def headless(*arguments: str) -> str:
    """Run a Chromium without a window and without a network; its standard output.

    Raises:
        NoBrowserError: there is none.
    """
    with tempfile.TemporaryDirectory() as profile:
        quiet = (
            *("--headless=new", "--disable-gpu", "--no-sandbox", "--hide-scrollbars", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
        )
        ran = subprocess.run(
            [browser(), *quiet, f"--user-data-dir={profile}", *arguments],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    return ran.stdout


def opened(state: dict[str, Any]) -> dict[str, Any]:
    """The same state with one job unfolded: what failed softly, else what runs, else the first that has a log."""
    order = ("soft", "running", "passed")
    telling = [job for job in state["jobs"] if job["log"] and job["kind"] in order]
    first = min(telling, key=lambda job: order.index(job["kind"]), default=None)
    return {**state, "open": [first["id"]] if first else []}


def take_picture(state: dict[str, Any], path: Path, *, height: int = HEIGHT) -> None:
    """Draw the page as it is in that state.

    Raises:
        NoBrowserError: there is no Chromium.
    """
    html, _ = page_html(state)
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "page.html"
        page.write_text(html)
        headless(f"--window-size={WIDTH},{height}", f"--screenshot={path.resolve()}", page.as_uri())
