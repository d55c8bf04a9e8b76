"""The bodies of requests to the daemon, from a container's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.sdk.errors import OperationError

from standins.docker.units import nano_cpus, nanoseconds

if TYPE_CHECKING:
    from providers.sdk.inputs import Inputs

_MIB: Final = 1024 * 1024
_UNCONFINED: Final = "systempaths=unconfined"
"""A security option that the client resolves: no path is masked or read-only."""
Body = dict[str, Any]


def container(inputs: Inputs) -> Body:
    """The body of a create request; what is not given is left to the daemon."""
    paths, binds, sources = _volumes(inputs)
    exposed, bound = _ports(inputs)
    config = {**_process(inputs), "ExposedPorts": exposed, "Volumes": paths}
    host = {
        **_host(inputs),
        **_resources(inputs),
        **_security(inputs),
        **_name_resolution(inputs),
        "PortBindings": bound,
        "Binds": binds,
        "VolumesFrom": sources,
    }
    init = {"Init": inputs.boolean("init") or False, "NetworkMode": inputs.string("networkMode")}
    return {
        **_without_empty(config),
        "HostConfig": {**_without_empty(host), **init, **_unmasked(inputs)},
    }


def _process(inputs: Inputs) -> Body:
    return {
        "Image": inputs.string("image"),
        "Hostname": inputs.string("hostname"),
        "Domainname": inputs.string("domainname"),
        "Tty": inputs.boolean("tty"),
        "OpenStdin": inputs.boolean("stdinOpen"),
        "StopSignal": inputs.string("stopSignal"),
        "StopTimeout": inputs.integer("stopTimeout") or None,
        "Env": list(inputs.strings("envs")),
        "Cmd": _command(inputs),
        "Entrypoint": list(inputs.strings("entrypoints")),
        "User": inputs.string("user"),
        "WorkingDir": inputs.string("workingDir"),
        "Labels": labels(inputs),
        "Healthcheck": _healthcheck(inputs),
    }


def _host(inputs: Inputs) -> Body:
    return {
        "Privileged": inputs.boolean("privileged"),
        "PublishAllPorts": inputs.boolean("publishAllPorts"),
        "RestartPolicy": _restart_policy(inputs),
        "Runtime": inputs.string("runtime"),
        "Mounts": [_mount(each) for each in inputs.objects("mounts")],
        "AutoRemove": inputs.boolean("rm"),
        "ReadonlyRootfs": inputs.boolean("readOnly"),
        "LogConfig": _without_empty(
            {"Type": inputs.string("logDriver"), "Config": inputs.string_map("logOpts")}
        ),
        "Tmpfs": inputs.string_map("tmpfs"),
        "Devices": [_device(device) for device in inputs.objects("devices")],
        "StorageOpt": inputs.string_map("storageOpts"),
    }


def _without_empty(body: Body) -> Body:
    """The entries that are not empty."""
    return {name: value for name, value in body.items() if value not in (None, "", [], {})}


def labels(inputs: Inputs) -> dict[str, str]:
    """Labels as a map; the program gives them as pairs."""
    return {pair.string("label", ""): pair.string("value", "") for pair in inputs.objects("labels")}


def _restart_policy(inputs: Inputs) -> Body:
    """The restart policy."""
    count = inputs.integer("maxRetryCount", 0)
    return {"Name": inputs.string("restart", "no"), "MaximumRetryCount": count}


def update(inputs: Inputs) -> Body:
    """The body of an update request."""
    limits = {
        "CpuShares": inputs.integer("cpuShares", 0),
        "Memory": inputs.integer("memory", 0) * _MIB,
        "MemoryReservation": inputs.integer("memoryReservation", 0) * _MIB,
        "CpusetCpus": inputs.string("cpuSet", ""),
    }
    swap = _without_empty({"MemorySwap": _swap(inputs)})
    return {
        "RestartPolicy": _restart_policy(inputs),
        **limits,
        **swap,
        **_without_empty(_rates(inputs)),
    }


def _command(inputs: Inputs) -> list[str]:
    command = list(inputs.strings("command"))
    if "" in command:
        msg = "values for command may not be empty"
        raise OperationError(msg)
    return command


def _healthcheck(inputs: Inputs) -> Body | None:
    healthcheck = inputs.object("healthcheck")
    if healthcheck is None:
        return None
    times = ("interval", "timeout", "startPeriod", "startInterval")
    return {
        "Test": list(healthcheck.strings("tests")),
        **{_api_name(name): nanoseconds(healthcheck.string(name, "0s")) for name in times},
        "Retries": healthcheck.integer("retries", 0),
    }


def _api_name(name: str) -> str:
    return name[0].upper() + name[1:]


def _ports(inputs: Inputs) -> tuple[Body, Body]:
    """The exposed ports, and their bindings; the daemon chooses a host port that is not given."""
    exposed: Body = {}
    bound: dict[str, list[Body]] = {}
    for port in inputs.objects("ports"):
        name = f"{port.integer('internal', 0)}/{port.string('protocol', 'tcp')}"
        exposed[name] = {}
        binding = {"HostIp": port.string("ip", ""), "HostPort": str(port.integer("external", 0))}
        bound.setdefault(name, []).append(binding)
    return exposed, bound


def _volumes(inputs: Inputs) -> tuple[Body, list[str], list[str]]:
    """`Volumes`, `Binds` and `VolumesFrom`.

    Raises:
        OperationError: an entry has neither a container path nor a source container, or both.
    """
    paths: Body = {}
    binds: list[str] = []
    sources: list[str] = []
    for volume in inputs.objects("volumes"):
        source, path = volume.string("fromContainer", ""), volume.string("containerPath", "")
        name = volume.string("hostPath", "") or volume.string("volumeName", "")
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
            relabel = volume.string("selinuxRelabel", "")
            mode = "ro" if volume.boolean("readOnly") else "rw"
            binds.append(f"{name}:{path}:{mode}{',' if relabel else ''}{relabel}")
    return paths, binds, sources


def _mount(inputs: Inputs) -> Body:
    kind = inputs.string("type", "")
    body: Body = {
        "Type": kind,
        "Target": inputs.string("target"),
        "Source": inputs.string("source"),
        "ReadOnly": inputs.boolean("readOnly"),
    }
    bind, volume, tmpfs = (inputs.object(f"{of}Options") for of in ("bind", "volume", "tmpfs"))
    if kind == "bind" and bind is not None:
        body["BindOptions"] = {"Propagation": bind.string("propagation", "")}
    elif kind == "volume" and volume is not None:
        options, name = volume.string_map("driverOptions"), volume.string("driverName", "")
        body["VolumeOptions"] = {
            "NoCopy": volume.boolean("noCopy") or False,
            "Labels": labels(volume),
            "DriverConfig": {"Name": name, "Options": options},
            **_without_empty({"Subpath": volume.string("subpath")}),
        }
    elif kind == "tmpfs" and tmpfs is not None:
        size, mode = tmpfs.integer("sizeBytes", 0), tmpfs.integer("mode", 0)
        body["TmpfsOptions"] = {"SizeBytes": size, "Mode": mode}
    return _without_empty(body)


def _device(device: Inputs) -> Body:
    path = device.string("hostPath", "")
    return {
        "PathOnHost": path,
        "PathInContainer": device.string("containerPath") or path,
        "CgroupPermissions": device.string("permissions", "rwm"),
    }


def _resources(inputs: Inputs) -> Body:
    cpus = inputs.string("cpus", "")
    nano = nano_cpus(cpus) if cpus else None
    if cpus and nano is None:
        msg = f"Error setting cpus: {cpus!r} is not a number of CPUs"
        raise OperationError(msg)
    quota = {"CpuPeriod": inputs.integer("cpuPeriod"), "CpuQuota": inputs.integer("cpuQuota")}
    limits = [
        {"Name": each.string("name"), "Soft": each.integer("soft"), "Hard": each.integer("hard")}
        for each in inputs.objects("ulimits")
    ]
    return {
        **_rates(inputs),
        **({"NanoCpus": nano} if nano is not None else quota),
        "Ulimits": limits,
        "Memory": inputs.integer("memory", 0) * _MIB,
        "MemoryReservation": inputs.integer("memoryReservation", 0) * _MIB,
        "MemorySwap": _swap(inputs),
        "ShmSize": inputs.integer("shmSize", 0) * _MIB,
        "CpuShares": inputs.integer("cpuShares"),
        "CpusetCpus": inputs.string("cpuSet"),
    }


def _swap(inputs: Inputs) -> int | None:
    swap = inputs.integer("memorySwap")
    return swap * _MIB if swap is not None and swap > 0 else swap


def _rates(inputs: Inputs) -> Body:
    return {
        f"BlkioDevice{name}": [
            {"Path": each.string("path"), "Rate": each.integer("rate")}
            for each in inputs.objects(given)
        ]
        for name, given in (
            ("ReadBps", "deviceReadBps"),
            ("ReadIOps", "deviceReadIops"),
            ("WriteBps", "deviceWriteBps"),
            ("WriteIOps", "deviceWriteIops"),
        )
    }


def _security(inputs: Inputs) -> Body:
    capabilities = inputs.object("capabilities")
    options = inputs.strings("securityOpts")
    return {
        "CapAdd": list(capabilities.strings("adds")) if capabilities else [],
        "CapDrop": list(capabilities.strings("drops")) if capabilities else [],
        "CgroupnsMode": inputs.string("cgroupnsMode"),
        "CgroupParent": inputs.string("cgroupParent"),
        "DeviceCgroupRules": list(inputs.strings("deviceCgroupRules")),
        "GroupAdd": list(inputs.strings("groupAdds")),
        "IpcMode": inputs.string("ipcMode"),
        "PidMode": inputs.string("pidMode"),
        "SecurityOpt": [option for option in options if option != _UNCONFINED],
        "Sysctls": inputs.string_map("sysctls"),
        "UsernsMode": inputs.string("usernsMode"),
    }


def _unmasked(inputs: Inputs) -> Body:
    """Empty lists, which differ from absent ones: the daemon masks nothing."""
    unconfined = _UNCONFINED in inputs.strings("securityOpts")
    return {"MaskedPaths": [], "ReadonlyPaths": []} if unconfined else {}


def _name_resolution(inputs: Inputs) -> Body:
    hosts = [f"{each.string('host')}:{each.string('ip')}" for each in inputs.objects("hosts")]
    return {
        "ExtraHosts": hosts,
        "Dns": list(inputs.strings("dns")),
        "DnsOptions": list(inputs.strings("dnsOpts")),
        "DnsSearch": list(inputs.strings("dnsSearches")),
    }


def endpoint(network: Inputs) -> Body:
    """The endpoint configuration of a container in one of its networks."""
    pairs = (text.partition("=") for text in network.strings("driverOpts"))
    options = {name: value for name, equals, value in pairs if equals}
    addresses = {
        "IPv4Address": network.string("ipv4Address"),
        "IPv6Address": network.string("ipv6Address"),
        "LinkLocalIPs": list(network.strings("linkLocalIps")),
    }
    return _without_empty(
        {
            "Aliases": list(network.strings("aliases")),
            "IPAMConfig": _without_empty(addresses),
            "MacAddress": network.string("macAddress"),
            "DriverOpts": options,
            "GwPriority": network.integer("gwPriority"),
        }
    )
