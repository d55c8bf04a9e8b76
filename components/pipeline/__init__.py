"""The stages of a release, in the order data flows; plain Python, no Pulumi."""
