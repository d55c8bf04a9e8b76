"""What the demo, the benchmark and the tests all stand on: hosts, stacks, daemons."""
