"""What the daemon is asked to make: the inputs of a container as its API takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.sdk.errors import OperationError

from standins.docker.units import nano_cpus, nanoseconds

if TYPE_CHECKING:
    from providers.sdk.inputs import Inputs

_MIB: Final = 1024 * 1024
_UNCONFINED: Final = "systempaths=unconfined"
"""A security option that is the client's: nothing is masked or read-only."""
Body = dict[str, Any]


def container(inputs: Inputs) -> Body:
    """The whole request; what was not given is left to the daemon."""
    paths, binds, sources = volumes(inputs)
    exposed, bound = _ports(inputs)
    config = {**_process(inputs), "ExposedPorts": exposed, "Volumes": paths}
    host = {
        **_host(inputs),
        **_resources(inputs),
        **_rights(inputs),
        **_names(inputs),
        "PortBindings": bound,
        "Binds": binds,
        "VolumesFrom": sources,
    }
    init = {"Init": inputs.flag("init") or False, "NetworkMode": inputs.text("networkMode")}
    return {**_some(config), "HostConfig": {**_some(host), **init, **_unmasked(inputs)}}


def _process(inputs: Inputs) -> Body:
    return {
        "Image": inputs.text("image"),
        "Hostname": inputs.text("hostname"),
        "Domainname": inputs.text("domainname"),
        "Tty": inputs.flag("tty"),
        "OpenStdin": inputs.flag("stdinOpen"),
        "StopSignal": inputs.text("stopSignal"),
        "StopTimeout": inputs.whole("stopTimeout") or None,
        "Env": list(inputs.texts("envs")),
        "Cmd": _command(inputs),
        "Entrypoint": list(inputs.texts("entrypoints")),
        "User": inputs.text("user"),
        "WorkingDir": inputs.text("workingDir"),
        "Labels": labels(inputs),
        "Healthcheck": _healthcheck(inputs),
    }


def _host(inputs: Inputs) -> Body:
    return {
        "Privileged": inputs.flag("privileged"),
        "PublishAllPorts": inputs.flag("publishAllPorts"),
        "RestartPolicy": restart_policy(inputs),
        "Runtime": inputs.text("runtime"),
        "Mounts": [mount(each) for each in inputs.each("mounts")],
        "AutoRemove": inputs.flag("rm"),
        "ReadonlyRootfs": inputs.flag("readOnly"),
        "LogConfig": _some({"Type": inputs.text("logDriver"), "Config": inputs.mapping("logOpts")}),
        "Tmpfs": inputs.mapping("tmpfs"),
        "Devices": [_device(device) for device in inputs.each("devices")],
        "StorageOpt": inputs.mapping("storageOpts"),
    }


def _some(body: Body) -> Body:
    """What says something."""
    return {name: value for name, value in body.items() if value not in (None, "", [], {})}


def labels(inputs: Inputs) -> dict[str, str]:
    """Labels, which the program gives as pairs."""
    return {pair.text("label", ""): pair.text("value", "") for pair in inputs.each("labels")}


def restart_policy(inputs: Inputs) -> Body:
    """When the daemon starts it again."""
    count = inputs.whole("maxRetryCount", 0)
    return {"Name": inputs.text("restart", "no"), "MaximumRetryCount": count}


def updated(inputs: Inputs) -> Body:
    """The request that changes what can be changed without a new container."""
    limits = {
        "CpuShares": inputs.whole("cpuShares", 0),
        "Memory": inputs.whole("memory", 0) * _MIB,
        "MemoryReservation": inputs.whole("memoryReservation", 0) * _MIB,
        "CpusetCpus": inputs.text("cpuSet", ""),
    }
    swap = _some({"MemorySwap": _swap(inputs)})
    return {"RestartPolicy": restart_policy(inputs), **limits, **swap, **_some(_rates(inputs))}


def _command(inputs: Inputs) -> list[str]:
    words = list(inputs.texts("command"))
    if "" in words:
        msg = "values for command may not be empty"
        raise OperationError(msg)
    return words


def _healthcheck(inputs: Inputs) -> Body | None:
    given = inputs.inside("healthcheck")
    if given is None:
        return None
    times = ("interval", "timeout", "startPeriod", "startInterval")
    asked = {name[0].upper() + name[1:]: nanoseconds(given.text(name, "0s")) for name in times}
    return {"Test": list(given.texts("tests")), **asked, "Retries": given.whole("retries", 0)}


def _ports(inputs: Inputs) -> tuple[Body, Body]:
    """What is exposed, and what of it is bound; a port of the host that is not given is any."""
    exposed: Body = {}
    bound: dict[str, list[Body]] = {}
    for port in inputs.each("ports"):
        name = f"{port.whole('internal', 0)}/{port.text('protocol', 'tcp')}"
        exposed[name] = {}
        place = {"HostIp": port.text("ip", ""), "HostPort": str(port.whole("external", 0))}
        bound.setdefault(name, []).append(place)
    return exposed, bound


def volumes(inputs: Inputs) -> tuple[Body, list[str], list[str]]:
    """Paths for volumes, what is bound there, and containers that volumes are taken from.

    Raises:
        OperationError: one says neither or both.
    """
    paths: Body = {}
    binds: list[str] = []
    sources: list[str] = []
    for volume in inputs.each("volumes"):
        source, path = volume.text("fromContainer", ""), volume.text("containerPath", "")
        name = volume.text("hostPath", "") or volume.text("volumeName", "")
        if bool(source) == bool(path):
            both = "both a container and a path specified in a volume entry"
            neither = "volume entry without container path or source container"
            msg = f"Unable to parse volumes: {both if source else neither}"
            raise OperationError(msg)
        if source:
            sources.append(source)
            continue
        paths[path] = {}
        if name:
            relabel = volume.text("selinuxRelabel", "")
            mode = "ro" if volume.flag("readOnly") else "rw"
            binds.append(f"{name}:{path}:{mode}{',' if relabel else ''}{relabel}")
    return paths, binds, sources


def mount(given: Inputs) -> Body:
    """A mount of a container, or of a service's."""
    kind = given.text("type", "")
    asked: Body = {
        "Type": kind,
        "Target": given.text("target"),
        "Source": given.text("source"),
        "ReadOnly": given.flag("readOnly"),
    }
    bind, volume, tmpfs = (given.inside(f"{of}Options") for of in ("bind", "volume", "tmpfs"))
    if kind == "bind" and bind is not None:
        asked["BindOptions"] = {"Propagation": bind.text("propagation", "")}
    elif kind == "volume" and volume is not None:
        options, name = volume.mapping("driverOptions"), volume.text("driverName", "")
        asked["VolumeOptions"] = {
            "NoCopy": volume.flag("noCopy") or False,
            "Labels": labels(volume),
            "DriverConfig": {"Name": name, "Options": options},
            **_some({"Subpath": volume.text("subpath")}),
        }
    elif kind == "tmpfs" and tmpfs is not None:
        size, mode = tmpfs.whole("sizeBytes", 0), tmpfs.whole("mode", 0)
        asked["TmpfsOptions"] = {"SizeBytes": size, "Mode": mode}
    return _some(asked)


def _device(device: Inputs) -> Body:
    path = device.text("hostPath", "")
    return {
        "PathOnHost": path,
        "PathInContainer": device.text("containerPath") or path,
        "CgroupPermissions": device.text("permissions", "rwm"),
    }


def _resources(inputs: Inputs) -> Body:
    given = inputs.text("cpus", "")
    nano = nano_cpus(given) if given else None
    if given and nano is None:
        msg = f"Error setting cpus: {given!r} is no number of processors"
        raise OperationError(msg)
    quota = {"CpuPeriod": inputs.whole("cpuPeriod"), "CpuQuota": inputs.whole("cpuQuota")}
    limits = [
        {"Name": each.text("name"), "Soft": each.whole("soft"), "Hard": each.whole("hard")}
        for each in inputs.each("ulimits")
    ]
    return {
        **_rates(inputs),
        **({"NanoCpus": nano} if nano is not None else quota),
        "Ulimits": limits,
        "Memory": inputs.whole("memory", 0) * _MIB,
        "MemoryReservation": inputs.whole("memoryReservation", 0) * _MIB,
        "MemorySwap": _swap(inputs),
        "ShmSize": inputs.whole("shmSize", 0) * _MIB,
        "CpuShares": inputs.whole("cpuShares"),
        "CpusetCpus": inputs.text("cpuSet"),
    }


def _swap(inputs: Inputs) -> int | None:
    swap = inputs.whole("memorySwap")
    return swap * _MIB if swap is not None and swap > 0 else swap


def _rates(inputs: Inputs) -> Body:
    return {
        f"BlkioDevice{name}": [
            {"Path": each.text("path"), "Rate": each.whole("rate")} for each in inputs.each(given)
        ]
        for name, given in (
            ("ReadBps", "deviceReadBps"),
            ("ReadIOps", "deviceReadIops"),
            ("WriteBps", "deviceWriteBps"),
            ("WriteIOps", "deviceWriteIops"),
        )
    }


def _rights(inputs: Inputs) -> Body:
    capabilities = inputs.inside("capabilities")
    options = inputs.texts("securityOpts")
    return {
        "CapAdd": list(capabilities.texts("adds")) if capabilities else [],
        "CapDrop": list(capabilities.texts("drops")) if capabilities else [],
        "CgroupnsMode": inputs.text("cgroupnsMode"),
        "CgroupParent": inputs.text("cgroupParent"),
        "DeviceCgroupRules": list(inputs.texts("deviceCgroupRules")),
        "GroupAdd": list(inputs.texts("groupAdds")),
        "IpcMode": inputs.text("ipcMode"),
        "PidMode": inputs.text("pidMode"),
        "SecurityOpt": [option for option in options if option != _UNCONFINED],
        "Sysctls": inputs.mapping("sysctls"),
        "UsernsMode": inputs.text("usernsMode"),
    }


def _unmasked(inputs: Inputs) -> Body:
    """Empty lists, which mean something else than no lists."""
    wanted = _UNCONFINED in inputs.texts("securityOpts")
    return {"MaskedPaths": [], "ReadonlyPaths": []} if wanted else {}


def _names(inputs: Inputs) -> Body:
    hosts = [f"{each.text('host')}:{each.text('ip')}" for each in inputs.each("hosts")]
    return {
        "ExtraHosts": hosts,
        "Dns": list(inputs.texts("dns")),
        "DnsOptions": list(inputs.texts("dnsOpts")),
        "DnsSearch": list(inputs.texts("dnsSearches")),
    }


def endpoint(network: Inputs) -> Body:
    """How a container is in one of its networks."""
    pairs = (text.partition("=") for text in network.texts("driverOpts"))
    options = {name: value for name, mark, value in pairs if mark}
    addresses = {
        "IPv4Address": network.text("ipv4Address"),
        "IPv6Address": network.text("ipv6Address"),
        "LinkLocalIPs": list(network.texts("linkLocalIps")),
    }
    return _some(
        {
            "Aliases": list(network.texts("aliases")),
            "IPAMConfig": _some(addresses),
            "MacAddress": network.text("macAddress"),
            "DriverOpts": options,
            "GwPriority": network.whole("gwPriority"),
        }
    )
