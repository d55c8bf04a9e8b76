"""The demo: two real hosts, one app, and the commands that a person types."""
