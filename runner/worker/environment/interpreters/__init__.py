"""Interpreters of this host: found, told apart, compared with what is asked for."""
