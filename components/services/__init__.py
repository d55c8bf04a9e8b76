"""Services in Docker: images, candidates, containers, and the edge that forwards to them."""
