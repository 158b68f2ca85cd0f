"""Where a run can be carried out: hosts and launchers."""
