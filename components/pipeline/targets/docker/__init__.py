"""Docker from here: which daemon, its REST interface, images brought to it, and who serves.

In the order in which data flows: `spec` (the config), `daemon` (where it is, and calls to it),
`owned` (what is a stack's in it), `image` (what nix has built to an image with a name), `trial` (a
candidate that has to become healthy), `route` and `edge` (whose requests go where). Docker's own
documentation of the interface:
https://docs.docker.com/reference/api/engine/
"""
