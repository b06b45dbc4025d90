"""Everything put together: `chains` orders the steps, `deployment` makes the adapters, `functions` is both at work."""

from agent_stack.wiring.functions import Dispatcher, Tracker, answer_for_stack

__all__ = ["Dispatcher", "Tracker", "answer_for_stack"]
