"""The words that this project does not use, and where they stand all the same. `scripts/check` runs it."""
