"""Processes and files of this machine: how they are started, followed, bounded, timed and kept."""
