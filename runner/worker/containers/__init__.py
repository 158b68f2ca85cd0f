"""Containers: the engine of a host, the image a project asks for, and the command line that runs a command in it."""
