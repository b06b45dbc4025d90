"""The tracker: follows VMs, notifies build pages and terminates VMs. `chain.py` lists its steps in order."""
