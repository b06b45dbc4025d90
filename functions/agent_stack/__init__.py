"""Runs every Buildkite job on a fresh EC2 instance of its own.

- `domain`: values and decisions about jobs, runs, VMs and classes. Pure.
- `ports`: what the steps need from other systems, as Protocols.
- `dispatcher`, `tracker`: one file for each step; `chain.py` in each lists the steps in order.
- `removal`: what the tracker does when CloudFormation deletes the stack.
- `lease_loop`: repeats cycles while an invocation holds the lease. `best_effort`: steps that may fail.
- `adapters`: implement the ports, one external system each.
- `settings`: the environment, read and checked once. `wiring`: builds everything and connects it.
"""
