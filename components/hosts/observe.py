"""What a preview asks: Incus for its instances, then each host for what it runs."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import pulumi

from ..pipeline.config.incus import IncusSpec, TransportKind
from ..pipeline.config.stack import Endpoint, HostSpec, Observe, Settings
from ..pipeline.deploy import observe
from ..pipeline.deploy.observe import Observed
from ..pipeline.errors import HostError, UnreachableError
from ..pipeline.transport import ssh
from ..pipeline.transport.incus_exec import IncusExec
from ..pipeline.transport.ssh import Ssh
from ..pipeline.transport.ssh_files import SshFiles
from ..pipeline.transport.transport import Transport
from ..pipeline.values import HostAddress, HostKey, InvalidValue
from .incus_resources import server_inputs

OBSERVE: Final = "flakeup:incus:observe"
"""The provider function that lists a project's instances."""
Instances = Mapping[str, Mapping[str, Any]]
"""The instances of a project, by name, as the provider reports them."""


async def observe_hosts(settings: Settings, files: SshFiles, owner: pulumi.Output[str]) -> Observed:
    """Ask each host what it runs; a host that cannot be asked gives its error.

    Only previews ask: an update finds out as it deploys.
    """
    if settings.observe is Observe.NEVER or not pulumi.runtime.is_dry_run():
        return {}
    transports, errors = await _transports(settings.hosts, files, await owner.future())
    return {**await observe.observe(transports), **errors}


async def _transports(
    hosts: Iterable[HostSpec], files: SshFiles, owner: str | None
) -> tuple[tuple[Transport, ...], Mapping[str, HostError]]:
    """The transports to the hosts that exist; and the errors of others, by host.

    One request per project lists its instances, whatever their number.
    """
    hosts = tuple(hosts)
    projects = {(one.incus.remote, one.incus.project): one.incus for one in hosts if one.incus}
    replies = await asyncio.gather(*map(_list_instances, projects.values()))
    by_project = dict(zip(projects, replies, strict=True))
    transports: list[Transport] = []
    errors: dict[str, HostError] = {}
    for host in hosts:
        if host.incus is None:
            transports.append(Ssh.of(host, files))
            continue
        instances = by_project[host.incus.remote, host.incus.project]
        if isinstance(instances, HostError):
            errors[host.name] = instances
            continue
        found = instances.get(host.incus.name)
        if found and found.get("error"):
            errors[host.name] = UnreachableError(found["error"])
        # Never another stack's; before the first `up`, none is this one's.
        elif found and owner and found["owner"] == owner and found["running"]:
            transport = _transport(host, host.incus, found, files)
            transports += [transport] if transport else []
    return tuple(transports), errors


def _transport(
    host: HostSpec, spec: IncusSpec, instance: Mapping[str, Any], files: SshFiles
) -> Transport | None:
    """The transport to a running instance; None if its address or key is not known."""
    if spec.transport is TransportKind.EXEC:
        return IncusExec(host=host, folder=PurePosixPath(files.known_hosts.parent))
    endpoint = _endpoint(instance)
    return ssh.pin(files, host, endpoint) if endpoint else None


async def _list_instances(spec: IncusSpec) -> Instances | HostError:
    # Shielded: if the program fails meanwhile, the SDK would print a traceback of the call.
    call = asyncio.ensure_future(pulumi.runtime.invoke_async(OBSERVE, server_inputs(spec)))
    call.add_done_callback(lambda it: it.cancelled() or it.exception())
    try:
        reply = await asyncio.shield(call)
    except Exception as error:  # noqa: BLE001 the SDK raises a bare one around the provider's text
        return UnreachableError(str(error).rpartition(" returned an error: ")[2])
    instances: Instances = reply["instances"]
    return instances


def _endpoint(instance: Mapping[str, Any]) -> Endpoint | None:
    try:
        return Endpoint(
            address=HostAddress.parse(instance["address"] or ""),
            host_key=HostKey.parse(instance["hostKey"] or ""),
        )
    except InvalidValue:
        return None
