"""The mutants: one-line changes that take one safeguard away, each with the layer of tests that must notice.

`scripts/mutate` plays them. A safeguard that no mutant takes away may be gone without anybody noticing.
"""
