"""The stack in a world on a virtual clock: production wiring and adapters, crashed, starved and proved at every step.

One queue of events and one seed: the same seed gives the same trace. There are no threads and no sockets.
"""
