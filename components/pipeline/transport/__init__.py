"""How a host is reached: over ssh, or through `incus exec`."""
