"""Runs every Buildkite job on a fresh EC2 instance of its own.

- `domain`: what is true of jobs, runs, VMs and classes, and what to decide about them. Pure.
- `ports`: what the steps ask of the world.
- `dispatcher`, `tracker`: one file for each step; `chain.py` in each lists the steps in order.
- `removal`: what a removal of the stack does.
- `adapters`: the world itself, one system each.
- `settings`: the environment, read and checked once. `wiring`: all of the above, put together.
"""
