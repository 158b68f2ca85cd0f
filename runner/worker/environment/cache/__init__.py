"""Environments of the cache: kept by key, looked over before each use, held while they are used."""
