"""Stand-ins for released provider plugins, for machines that cannot download them."""
