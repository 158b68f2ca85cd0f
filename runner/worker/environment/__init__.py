"""The environment a command runs in: finds the interpreter, takes the lock, finds or builds what it names."""
