"""Brings runs to a team's own MLflow server, from the files of their directories."""
