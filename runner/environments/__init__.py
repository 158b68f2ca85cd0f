"""From environment files to what an environment has to hold."""
