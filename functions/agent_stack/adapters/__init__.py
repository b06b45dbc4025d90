"""One room per external system. An adapter translates values and errors, and decides nothing."""
