"""The daemons that hosts and services are made with."""
