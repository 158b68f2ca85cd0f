"""Where things lie: runs, objects, the index."""
