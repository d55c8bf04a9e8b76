"""How fast the program is, measured beside what it cannot be faster than: `python -m bench`."""
