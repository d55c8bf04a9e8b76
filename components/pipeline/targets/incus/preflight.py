"""Whether the remotes of a stack's hosts are the servers that it means, before anything is begun.

It takes no connection: what the client has pinned is what both REST and `incus exec` go by.
"""

from collections.abc import Iterable

from ...config.incus import IncusSpec
from ...errors import IncusError, IncusPinError
from .remote import Remote


def check(specs: Iterable[IncusSpec | None]) -> None:
    """Hold what the stack has pinned against what the client has.

    A remote that is not known here, or without a certificate, is said by whoever needs it: a
    preview may run where it does not.

    Raises:
        IncusPinError: a remote is another server here.
    """
    pinned = {(one.remote, one.certificate) for one in specs if one and one.certificate}
    for remote, certificate in sorted(pinned):
        try:
            Remote.find(remote, certificate).trust()
        except IncusPinError:
            raise
        except IncusError:
            continue
