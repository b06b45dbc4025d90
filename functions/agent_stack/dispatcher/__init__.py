"""The dispatcher: reserves jobs, launches VMs and binds the jobs to them. `chain.py` lists its steps in order."""
