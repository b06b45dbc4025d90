"""The demo: a pipeline from a YAML file, run end to end on this machine, shown as it happens, and checked."""
