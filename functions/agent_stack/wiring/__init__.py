"""Wiring: `deployment` creates the adapters, `options` reads the chain's options, `functions` builds both functions."""

from agent_stack.wiring.functions import Dispatcher, Tracker, answer_for_stack
from agent_stack.wiring.inspection import answer_inspection

__all__ = ["Dispatcher", "Tracker", "answer_for_stack", "answer_inspection"]
