"""Benchmarks of the program against the fastest possible baselines: `python -m bench`."""
