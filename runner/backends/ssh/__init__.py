"""Machines over the user's own OpenSSH: one connection, one worker there, runs that need neither to go on."""
