"""Services in Docker: images, candidates, containers, the edge in front of them."""
