"""The fault plan on real hosts: whatever is done to a deployment, a host ends on NEW or on OLD."""
