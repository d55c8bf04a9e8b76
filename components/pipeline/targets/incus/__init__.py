"""Incus from here: which server a remote is, its REST interface, images and instances in it.

In the order in which data flows: `remote` (a name to a server, and its `certificate`), `api` (calls
and operations), `image` (two files of the store to a fingerprint), `seen` (what an instance is),
`wanted` (what it is to be), `instance` (from one to the other), `cluster` (its
members), `boot` (until it can be deployed to). Incus's own documentation of the interface:
https://linuxcontainers.org/incus/docs/main/rest-api/
"""
