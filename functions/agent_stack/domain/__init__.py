"""What the stack knows and how it decides: plain values and pure functions, standard library only.

Start with `states` (the vocabulary), `runs` (the one thing we keep), then `decisions` (what becomes of it).
"""
