"""From refs to commits to one lock: what a release is."""
