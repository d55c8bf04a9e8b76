"""Real daemons and servers of the tests' own."""
