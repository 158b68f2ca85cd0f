"""Carries a run out on this host: prepares, starts, watches, takes stock."""
