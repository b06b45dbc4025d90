"""True runs: the functions as processes and VMs as processes, behind a hostile proxy, killed at random moments."""
