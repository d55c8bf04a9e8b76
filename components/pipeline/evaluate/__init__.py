"""From attributes to derivations, and what changes from one to the next."""
