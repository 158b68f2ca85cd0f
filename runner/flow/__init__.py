"""What a user can do with runs: start, follow, cancel, run again. The CLI and the Python API call these."""
