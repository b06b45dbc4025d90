"""Buildkite's Stacks API over HTTP.

`client` keeps the port's promises; `caller` sends one request (retries, time-outs, rates, token); `dialect` knows
the paths and bodies of the two dialects; `shapes` reads the answers; `texts` crops what people will read.
"""

from agent_stack.adapters.stacks_api.client import HttpStacksApi
from agent_stack.adapters.stacks_api.dialect import Dialect

__all__ = ["Dialect", "HttpStacksApi"]
