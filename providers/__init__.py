"""The provider that is shipped with the program, and what it is built on."""
