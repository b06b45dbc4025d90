"""The operator's command `agent-stack`. It reads with the operator's own credentials, and ships to people only."""
