"""From a started instance to one that can be deployed to: booted, its store known, reachable."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ...errors import IncusAwayError, IncusError, IncusRefusedError, message, printable
from ...values import HostAddress, InvalidValue
from ...values.ssh_keys import HostKey
from .api import Incus, asked, segment
from .observed import address

PAUSE: Final = 0.3
"""Seconds between two looks."""
LOOK: Final = 20.0
"""Seconds for one look from inside, which waits there for the end of the boot."""
SPARE: Final = 5.0
"""Seconds beside that, for the look itself."""
KEY_FILE: Final = "/etc/ssh/ssh_host_ed25519_key.pub"
FILE_LIMIT: Final = 4096
_INSIDE: Final = """\
PATH=$PATH:/run/current-system/sw/bin:/usr/bin:/bin
test ! -e /nix-path-registration || { echo registering; exit 0; }
timeout "$1" systemctl is-system-running --wait >/dev/null
systemctl is-system-running
"""
"""A new NixOS root registers its store paths once (register-nix-paths.service); until then the
store looks empty to a copy."""
_UP: Final = frozenset({"running", "degraded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """What an instance says of itself once it is up; both None where ssh is not wanted."""

    address: HostAddress | None
    host_key: HostKey | None


async def booted(
    incus: Incus, name: str, *, seconds: float, ssh: bool, say: Callable[[str], None]
) -> Booted:
    """Wait until the instance is up.

    With `ssh`, also until it has an address and its sshd a host key, which is read through Incus:
    the first connection knows whom to expect.

    Raises:
        IncusError: it is not up in time; what was missing is said.
        IncusAwayError: no server answers.
    """
    deadline, missing = time.monotonic() + seconds, "nothing was heard of it"
    say("waiting for it to boot")
    while (left := deadline - time.monotonic()) > 0:
        missing = await _missing(incus, name, min(left, LOOK))
        if not missing:
            if not ssh:
                return Booted(address=None, host_key=None)
            found = await reach(incus, name)
            if isinstance(found, Booted):
                return found
            missing = found
        await asyncio.sleep(PAUSE)
    remedy = f"look at it: `incus exec {incus.remote.name}:{name} --project {incus.project} -- sh`"
    detail = f"{missing} after {seconds:g} s"
    raise IncusError(message("the instance is not up", f"{name} ({incus.where})", detail, remedy))


async def _missing(incus: Incus, name: str, seconds: float) -> str:
    """What the boot still lacks, or nothing."""
    try:
        said = (await _inside(incus, name, seconds)).strip()
    except IncusAwayError:
        raise
    except IncusError as error:
        return _reason(error)
    return "" if said in _UP else f"systemd says '{printable(said)}'"


async def reach(incus: Incus, name: str) -> Booted | str:
    """Its address and host key, or what is missing of them."""
    path = f"/1.0/instances/{segment(name)}"
    try:
        instance = await incus.get(path)
        interface = instance["expanded_config"].get("user.access_interface", "")
        found = address(await incus.get(f"{path}/state"), interface)
        if found is None:
            return "it has no address"
        line = await incus.raw(asked(f"{path}/files", path=KEY_FILE))
        key = HostKey.parse(line[:FILE_LIMIT].decode(errors="replace"))
        return Booted(address=HostAddress.parse(found), host_key=key)
    except IncusAwayError:
        raise
    except IncusError as error:
        return f"{KEY_FILE}: {_reason(error)}"
    except InvalidValue as error:
        return f"{KEY_FILE} {error}"


def _reason(error: IncusError) -> str:
    return error.reason if isinstance(error, IncusRefusedError) else str(error)


async def _inside(incus: Incus, name: str, seconds: float) -> str:
    """Run the look inside, detached from us, and give what it printed."""
    place = f"/1.0/instances/{segment(name)}/exec"
    body = {
        "command": ["/bin/sh", "-c", _INSIDE, "sh", f"{seconds:.0f}"],
        "record-output": True,
        "wait-for-websocket": False,
        "interactive": False,
    }
    ended: dict[str, Any] = await incus.change("POST", place, body, seconds=seconds + SPARE)
    files = list((ended.get("output") or {}).values())
    try:
        return (await incus.raw(files[0])).decode(errors="replace") if files else ""
    finally:
        for file in files:
            await incus.change("DELETE", file)
