"""The config of a stack: its keys, each declared once, and how it is parsed into values."""
