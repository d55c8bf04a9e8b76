"""Incus: which server a remote is, its REST API, and the images, instances and volumes on it.

In the order in which data flows: `remote` (a name to a server, and its `certificate`), `api`
(requests and operations), `image` (two files of the store to a fingerprint), `volume`, `observed`
(an instance as it is, and as it should be), `instance` (from one to the other), `cluster` (its
members), `boot` (until it can be deployed to). `preflight` checks the pinned fingerprints before
anything runs. Incus documents its API: https://linuxcontainers.org/incus/docs/main/rest-api/
"""
