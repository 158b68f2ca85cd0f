"""For those who bring a backend: what every backend promises, as tests to inherit."""
