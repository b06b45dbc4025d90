"""Buildkite's Stacks API over HTTP.

`client` implements the port. `caller` sends one request: token, rate, time-outs, retries, errors. `limits` and `rates`
hold the published limits. `dialect` has the paths of both dialects, and `learnt_dialect` which one is spoken. `models`
reads the answers, `bodies` bounds them. `registrations` decides when a stack is registered again. `build_pages` sends
notifications, whose bodies `notifications` makes. `redaction` hides credentials in texts.
"""

from agent_stack.adapters.stacks_api.client import HttpStacksApi
from agent_stack.adapters.stacks_api.dialect import Dialect

__all__ = ["Dialect", "HttpStacksApi"]
