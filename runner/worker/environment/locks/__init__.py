"""Locks: read, written, resolved, remembered, held to."""
