"""How a host is reached: over ssh, or by way of Incus."""
