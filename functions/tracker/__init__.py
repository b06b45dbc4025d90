"""The tracker: follows runs and VMs, tells the build page, finishes and terminates. The only one that does."""
