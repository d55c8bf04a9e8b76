"""What tools/bootstrap is made of: the standard library only, one file for each part."""
