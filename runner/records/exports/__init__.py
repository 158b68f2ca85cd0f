"""A run in other forms: a bundle that can run it again elsewhere, and the standards of provenance."""
