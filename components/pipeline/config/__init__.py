"""What a stack's config may say, and as which values the program has it."""
