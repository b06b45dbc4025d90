"""Entry points: the functions that Lambda calls.

This is imported before all else. Imports make no garbage, so nobody looks for any until an entry point has all of its
own. No plugin of pydantic ships, and looking for one reads the metadata of every package.
"""

import gc
import os

gc.disable()
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def imported() -> None:
    """An entry point has imported all that it needs at once. That stays, so collections need not walk it."""
    gc.freeze()
    gc.enable()
