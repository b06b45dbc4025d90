"""A day of jobs on the virtual clock: what `agent-stack simulate` plays, in a process of its own.

The request comes as JSON on standard input. Each line of standard output is JSON: how far it is, and at last what
became of every job and VM.
"""
