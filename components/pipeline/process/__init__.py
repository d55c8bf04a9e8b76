"""Processes of this machine: how they are started, followed, bounded and timed."""
