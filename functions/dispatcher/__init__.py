"""The dispatcher: reserves jobs and launches VMs for them. The only one that does."""
