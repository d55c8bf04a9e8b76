"""Connections with the real ssh."""
