"""The built artefact, run as Lambda runs it: nothing else is on its path."""
