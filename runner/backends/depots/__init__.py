"""Where runs are shared through: a directory, one on another machine, or any file system that fsspec knows."""
