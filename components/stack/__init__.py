"""What belongs to the stack as a whole: its config, its release, the order of its hosts."""
