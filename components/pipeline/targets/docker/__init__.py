"""The Docker target: a daemon's REST interface, images for it, and how services are replaced.

In the order of a deployment: `remote` and `daemon` (the client), `archive`, `decompress`, `login`,
`push`, `pull` and `image` (an image that nix has built gets into the daemon), `ownership` (what a
stack owns there), `candidate` and `secrets_volume` (the new release, until it is healthy), `route`
and `edge` (where requests go).

All of it runs in the provider `flakeup`; hooks of the program call `ownership` too. The interface:
https://docs.docker.com/reference/api/engine/
"""
