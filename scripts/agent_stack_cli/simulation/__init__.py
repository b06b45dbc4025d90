"""`agent-stack simulate`: parameters tried on a day of jobs before they are deployed."""
