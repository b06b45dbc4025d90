"""Runs every Buildkite job on a fresh EC2 instance of its own.

The map of the house:

- `domain`: what is true of jobs, runs, VMs and classes, and what to decide about them. Pure.
- `ports`: what the stages ask of the world.
- `stages`: one file per step.
  dispatcher: register → resume → poll → inspect → admit → record → reserve → launch → bind.
  tracker: observe → decide → claim → tell → extend → renew → terminate → hand_back → finish → end → sweep.
- `adapters`: the world itself, one system each: stacks_api, ec2, dynamodb, ssm, powertools, system.
- `settings`: the environment, read and checked once. `wiring`: all of the above, put together.

Dependencies point down: wiring → settings, stages, adapters → ports → domain.
"""
