"""`scripts/dashboard`: a simulated working day, and what the dashboard shows of it."""

import argparse
import sys
import time
from pathlib import Path

from tests.simulator.clock import EPOCH
from tests.simulator.watching.day import HOURS, Day
from tests.simulator.watching.pictures import DashboardPicture
from tests.simulator.watching.template import Rendered
from tests.simulator.watching.timeline import draw_burst

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"


def main() -> int:
    """Simulate and draw; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/dashboard", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--into", type=Path, default=IMAGES, help="the directory for the pictures")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    day = Day(arguments.seed)
    day.run()
    simulation = day.simulation
    sys.stdout.write(
        f"{HOURS} hours with seed {arguments.seed}: {len(simulation.buildkite.jobs())} jobs, "
        f"{len(simulation.written())} metrics in {simulation.metrics.bytes_written} bytes, "
        f"{simulation.logs.bytes_written} bytes of other lines, {time.monotonic() - began:.0f} s\n"
    )
    picture = DashboardPicture(Rendered(), simulation.metrics, start=EPOCH, end=simulation.kernel.now())
    picture.save(arguments.into / "dashboard.png")
    burst = [run for run in simulation.store.history if run.job_id in day.burst]
    draw_burst(burst, arguments.into / "timeline.png")
    sys.stdout.write(f"drawn: {arguments.into / 'dashboard.png'}, {arguments.into / 'timeline.png'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
