"""EC2 instances as local processes, with a metadata service, AWS behind their role, and a stand-in for the agent.

Imports nothing itself, because the first process of every VM loads this package and has to start as fast as one does.
"""
