"""mlrun: runs an MLproject, keeps a record of it, and runs it again, exactly."""

__version__ = "0.1.0"
