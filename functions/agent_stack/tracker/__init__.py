"""The tracker: follows VMs, notifies build pages, ends VMs. `chain.py` lists its steps in order."""
