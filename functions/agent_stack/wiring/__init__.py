"""Wiring: `deployment` creates the adapters, `options` reads the chain's options.

`dispatcher_function` and `tracker_function` build the functions, and `stack_events` answers CloudFormation.
"""
