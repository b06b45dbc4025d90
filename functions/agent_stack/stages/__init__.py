"""The steps of a tick, one file each, in the order in which data walks through them.

Dispatcher: resume → poll → admit → record → reserve → launch → bind → measure_queues.
Tracker:    observe → decide → claim → tell → extend → terminate → hand_back → finish → end → sweep → measure_runs.

A step takes the tick as it is, does its one thing, and returns the tick with its own result filled in. Steps
never call one another; `wiring` puts them in a row.
"""
