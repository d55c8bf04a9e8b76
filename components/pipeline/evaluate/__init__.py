"""Attributes to derivations, and what changes between two of them."""
