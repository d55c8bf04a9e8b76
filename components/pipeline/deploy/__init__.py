"""Observed and desired state to a plan, in waves; building and copying."""
