"""The sealed provenance of runs, and what can be asked of it."""
