"""Where a project comes from, and the snapshot of exactly what a run executes."""
