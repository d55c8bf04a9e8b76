"""The stack as a whole: its config, its release, its rollout."""
