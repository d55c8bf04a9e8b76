"""Real daemons and servers, started by tests for themselves."""
