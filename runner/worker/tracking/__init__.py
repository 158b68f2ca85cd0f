"""MLflow's tracking API, served to the command of one run, on the loopback of the host where it runs."""
