"""Wait until a started instance can be deployed to: booted, its store registered, reachable."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from ...config.stack import Endpoint
from ...errors import IncusError, IncusRefusedError, IncusUnavailableError, message, printable
from ...process.bounded import KEY_LIMIT, REPLY_LIMIT
from ...values import HostAddress, InvalidValue
from ...values.ssh_keys import HostKey
from .api import Incus, segment, with_query
from .observed import address

PAUSE: Final = 0.3
"""Seconds between two probes."""
PROBE_TIMEOUT: Final = 20.0
"""Seconds for one probe, which waits in the instance for the boot to finish."""
PROBE_GRACE: Final = 5.0
"""Seconds on top of that, to start the probe and read its output."""
KEY_FILE: Final = "/etc/ssh/ssh_host_ed25519_key.pub"
_BOOT_PROBE: Final = """\
PATH=$PATH:/run/current-system/sw/bin:/usr/bin:/bin
test ! -e /nix-path-registration || { echo registering; exit 0; }
timeout "$1" systemctl is-system-running --wait >/dev/null
systemctl is-system-running
"""
"""A new NixOS root registers its store paths once (register-nix-paths.service); until then, a copy
takes the store for empty."""
_UP: Final = frozenset({"running", "degraded"})


async def wait_until_booted(
    incus: Incus, name: str, *, seconds: float, ssh: bool, say: Callable[[str], None]
) -> Endpoint | None:
    """Wait until the instance is up.

    With `ssh`, also until it has an address and its sshd a host key. The key is read through
    Incus, so that even the first connection checks it. Without `ssh` it returns None.

    Raises:
        IncusError: it is not up in time; the message says what was missing.
        IncusUnavailableError: the server does not respond.
    """
    deadline, missing = time.monotonic() + seconds, "it did not respond"
    say("waiting for it to boot")
    while (left := deadline - time.monotonic()) > 0:
        missing = await _missing(incus, name, min(left, PROBE_TIMEOUT))
        if not missing:
            if not ssh:
                return None
            found = await find_endpoint(incus, name)
            if isinstance(found, Endpoint):
                return found
            missing = found
        await asyncio.sleep(PAUSE)
    command = f"incus exec {incus.remote.name}:{name} --project {incus.project} -- sh"
    detail, remedy = f"{missing} after {seconds:g} s", f"inspect it with `{command}`"
    raise IncusError(message("the instance is not up", f"{name} ({incus.where})", detail, remedy))


async def _missing(incus: Incus, name: str, seconds: float) -> str:
    """What the boot has not reached yet, or nothing."""
    try:
        state = (await _probe(incus, name, seconds)).strip()
    except IncusUnavailableError:
        raise
    except IncusError as error:
        return _reason(error)
    return "" if state in _UP else f"systemd says '{printable(state)}'"


async def find_endpoint(incus: Incus, name: str) -> Endpoint | str:
    """Read its address and host key through Incus, or say what is missing."""
    path = f"/1.0/instances/{segment(name)}"
    try:
        instance = await incus.get(path)
        interface = instance["expanded_config"].get("user.access_interface", "")
        found = address(await incus.get(f"{path}/state"), interface)
        if found is None:
            return "it has no address"
        line = await incus.get_bytes(with_query(f"{path}/files", path=KEY_FILE), limit=KEY_LIMIT)
        key = HostKey.parse(line.decode(errors="replace"))
        return Endpoint(address=HostAddress.parse(found), host_key=key)
    except IncusUnavailableError:
        raise
    except IncusError as error:
        return f"{KEY_FILE}: {_reason(error)}"
    except InvalidValue as error:
        return f"{KEY_FILE} {error}"


def _reason(error: IncusError) -> str:
    return error.reason if isinstance(error, IncusRefusedError) else str(error)


async def _probe(incus: Incus, name: str, seconds: float) -> str:
    """Run the probe in the instance, and return what it printed.

    Its output is recorded by Incus, so no websocket of ours has to stay open.
    """
    path = f"/1.0/instances/{segment(name)}/exec"
    body = {
        "command": ["/bin/sh", "-c", _BOOT_PROBE, "sh", f"{seconds:.0f}"],
        "record-output": True,
        "wait-for-websocket": False,
        "interactive": False,
    }
    result: dict[str, Any] = await incus.change("POST", path, body, seconds=seconds + PROBE_GRACE)
    files = list((result.get("output") or {}).values())
    try:
        if not files:
            return ""
        return (await incus.get_bytes(files[0], limit=REPLY_LIMIT)).decode(errors="replace")
    finally:
        for file in files:
            await incus.change("DELETE", file)
