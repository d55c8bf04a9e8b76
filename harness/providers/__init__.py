"""Drivers that speak gRPC with a provider plugin, as the engine does."""
