"""Slurm as a launcher: hands a prepared run to the queue, and tells what became of it, with no accounting database."""
