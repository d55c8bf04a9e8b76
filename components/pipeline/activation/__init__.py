"""The guarded switch of one host: its runner, the protocol, and how an attempt ended."""
