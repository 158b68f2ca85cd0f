"""conda environments without conda: a lock of archives with hashes, solved and installed by py-rattler."""
