"""From what is wanted and what is observed to a plan, in waves; building and copying."""
