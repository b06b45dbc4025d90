"""The drill: an upgrade in the middle of boots and a rollback in the middle of jobs, with both versions' functions."""
