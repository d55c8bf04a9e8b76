"""Check, before anything else runs, that a stack's remotes are the servers that it pins.

No connection is made: the certificate that Incus's client has pinned decides, for the REST API as
for `incus exec`.
"""

from collections.abc import Iterable

from ...config.incus import IncusSpec
from ...errors import IncusError, IncusPinError
from .remote import Remote


def check_fingerprints(specs: Iterable[IncusSpec | None]) -> None:
    """Compare the fingerprints that the stack pins with the client's certificates.

    A remote that is unknown here, or has no certificate, is reported by the first resource that
    connects to it: a preview may run on a machine that cannot reach it.

    Raises:
        IncusPinError: on this machine, a remote is another server.
    """
    pinned = {(one.remote, one.certificate) for one in specs if one and one.certificate}
    for remote, certificate in sorted(pinned):
        try:
            Remote.find(remote, certificate).tls_context()
        except IncusPinError:
            raise
        except IncusError:
            continue
