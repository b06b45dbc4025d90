"""Adapters: one package or module for each external system. They translate values and errors, and decide nothing."""
