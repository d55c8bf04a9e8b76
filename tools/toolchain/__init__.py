"""The implementation of tools/bootstrap: one module per part, with the standard library alone."""
