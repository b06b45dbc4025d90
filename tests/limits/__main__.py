"""Prints sizes against limits; fails when one is over its limit."""

import sys

from tests.limits.measures import measures, page

if __name__ == "__main__":
    measured = list(measures())
    sys.stdout.write(page(measured) + "\n")
    sys.exit(not all(one.fits for one in measured))
