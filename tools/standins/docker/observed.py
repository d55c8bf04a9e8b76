"""The state of a container, from the daemon's description of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.sdk.check import without_nulls

from standins.docker.units import cpus, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.sdk.inputs import Inputs
    from providers.sdk.values import Properties, Value

_MIB: Final = 1024 * 1024


def container(inspected: dict[str, Any], given: Inputs) -> Properties:
    """The state of a container; `given` are the inputs or the prior state.

    Like the released provider, it does not read environment, labels, volumes, networks and files:
    the image adds to them, and which of the two a value came from cannot be known.
    """
    config, host = inspected["Config"], inspected["HostConfig"]
    state: Properties = {
        **_process(inspected, given),
        **_security(host),
        **_storage_and_devices(host, given),
        **_limits(host),
        "name": inspected["Name"].lstrip("/"),
        "rm": host["AutoRemove"],
        "readOnly": host["ReadonlyRootfs"],
        "restart": host["RestartPolicy"]["Name"],
        "maxRetryCount": float(host["RestartPolicy"]["MaximumRetryCount"]),
        "hostname": config["Hostname"],
        "domainname": config["Domainname"],
        **_network(inspected, given),
    }
    if not given.has("envs"):
        # Left out, the released provider would take it for one that is added: a replacement.
        state["envs"] = []
    if not inspected["State"]["Running"]:
        state["exitCode"] = float(inspected["State"]["ExitCode"])
        if given.boolean("mustRun"):
            # A difference for the next preview: its update starts the container.
            state["mustRun"] = False
    return state


def _process(inspected: dict[str, Any], given: Inputs) -> Properties:
    config, host = inspected["Config"], inspected["HostConfig"]
    by_id = given.string("image", "").startswith("sha256:")
    timeout = config.get("StopTimeout")
    return {
        "image": inspected["Image"] if by_id else config["Image"],
        "command": _list(config.get("Cmd")),
        "entrypoints": _list(config.get("Entrypoint")),
        "user": config["User"],
        "workingDir": config["WorkingDir"],
        "healthcheck": _healthcheck(config.get("Healthcheck")),
        "init": bool(host.get("Init")),
        "platform": inspected.get("Platform"),
        "stopSignal": config.get("StopSignal"),
        "stopTimeout": None if timeout is None else float(timeout),
        "stdinOpen": config["OpenStdin"],
        "tty": config["Tty"],
    }


def _healthcheck(healthcheck: dict[str, Any] | None) -> Value:
    if healthcheck is None:
        return None
    times = {
        name: duration(healthcheck.get(name[0].upper() + name[1:], 0))
        for name in ("interval", "timeout", "startPeriod", "startInterval")
    }
    return {
        "tests": _list(healthcheck.get("Test")),
        **times,
        "retries": float(healthcheck.get("Retries", 0)),
    }


def _security(host: dict[str, Any]) -> Properties:
    adds, drops = _list(host.get("CapAdd")), _list(host.get("CapDrop"))
    return {
        "capabilities": {"adds": adds, "drops": drops} if adds or drops else None,
        "groupAdds": _list(host.get("GroupAdd")),
        "ipcMode": host["IpcMode"],
        "privileged": host["Privileged"],
        "runtime": host["Runtime"],
        "securityOpts": _list(host.get("SecurityOpt")),
        "sysctls": host.get("Sysctls"),
        "usernsMode": host["UsernsMode"],
    }


def _storage_and_devices(host: dict[str, Any], given: Inputs) -> Properties:
    log = host["LogConfig"]
    return {
        "mounts": [_mount(each) for each in host.get("Mounts") or ()],
        "tmpfs": host.get("Tmpfs"),
        "devices": _devices(host, given) if given.has("devices") else None,
        "ulimits": _map(host.get("Ulimits"), _ulimit) if given.has("ulimits") else None,
        "shmSize": float(host["ShmSize"] // _MIB),
        "storageOpts": host.get("StorageOpt"),
        "logDriver": log["Type"],
        "logOpts": log["Config"] if given.has("logOpts") else None,
        "pidMode": host["PidMode"] if given.has("pidMode") else None,
    }


def _mount(mount: dict[str, Any]) -> Value:
    result: Properties = {
        "target": mount["Target"],
        "source": mount.get("Source"),
        "type": mount["Type"],
        "readOnly": mount.get("ReadOnly", False),
    }
    if bind := mount.get("BindOptions"):
        result["bindOptions"] = {"propagation": bind.get("Propagation", "")}
    if volume := mount.get("VolumeOptions"):
        driver = volume.get("DriverConfig") or {}
        result["volumeOptions"] = {
            "noCopy": volume.get("NoCopy", False),
            "labels": labels(volume.get("Labels")),
            "driverName": driver.get("Name", ""),
            "driverOptions": driver.get("Options") or {},
            "subpath": volume.get("Subpath", ""),
        }
    if tmpfs := mount.get("TmpfsOptions"):
        size, mode = float(tmpfs.get("SizeBytes", 0)), float(tmpfs.get("Mode", 0))
        result["tmpfsOptions"] = {"sizeBytes": size, "mode": mode}
    return without_nulls(result)


def _devices(host: dict[str, Any], given: Inputs) -> Value:
    """Devices, with the path in the container only if the program gave one."""
    named = {
        each.string("hostPath") for each in given.objects("devices") if each.string("containerPath")
    }
    return [_device(device, is_named=device["PathOnHost"] in named) for device in host["Devices"]]


def _device(device: dict[str, Any], *, is_named: bool) -> Value:
    path, permissions = device["PathOnHost"], device["CgroupPermissions"]
    inside = {"containerPath": device["PathInContainer"]} if is_named else {}
    return {"hostPath": path, "permissions": permissions, **inside}


def _ulimit(ulimit: dict[str, Any]) -> Value:
    return {"name": ulimit["Name"], "soft": float(ulimit["Soft"]), "hard": float(ulimit["Hard"])}


def _limits(host: dict[str, Any]) -> Properties:
    swap = host["MemorySwap"]
    return {
        "cpuSet": host["CpusetCpus"],
        "cpuShares": float(host["CpuShares"]),
        "cpus": cpus(host["NanoCpus"]) if host["NanoCpus"] > 0 else None,
        "deviceReadBps": _map(host.get("BlkioDeviceReadBps"), _rate),
        "deviceReadIops": _map(host.get("BlkioDeviceReadIOps"), _rate),
        "deviceWriteBps": _map(host.get("BlkioDeviceWriteBps"), _rate),
        "deviceWriteIops": _map(host.get("BlkioDeviceWriteIOps"), _rate),
        "memory": float(host["Memory"] // _MIB),
        "memoryReservation": float(host["MemoryReservation"] // _MIB),
        "memorySwap": float(swap // _MIB if swap > 0 else swap),
    }


def _rate(rate: dict[str, Any]) -> Value:
    return {"path": rate["Path"], "rate": float(rate["Rate"])}


def _network(inspected: dict[str, Any], given: Inputs) -> Properties:
    host, settings = inspected["HostConfig"], inspected["NetworkSettings"]
    networks = sorted((settings.get("Networks") or {}).items())
    # A stopped container has no ports; with `mustRun`, that is a difference, in its ports too.
    read_ports = given.has("ports") and (inspected["State"]["Running"] or given.boolean("mustRun"))
    return {
        "bridge": settings.get("Bridge"),
        "networkDatas": [_endpoint(name, endpoint) for name, endpoint in networks],
        "networkMode": host["NetworkMode"],
        "publishAllPorts": host["PublishAllPorts"],
        "ports": _ports(settings.get("Ports") or {}) if read_ports else None,
        "dns": _list(host.get("Dns")),
        "dnsOpts": _list(host.get("DnsOptions")),
        "dnsSearches": _list(host.get("DnsSearch")),
        "hosts": [_extra_host(text) for text in host.get("ExtraHosts") or ()],
    }


def _endpoint(name: str, endpoint: dict[str, Any]) -> Value:
    return {
        "networkName": name,
        "ipAddress": endpoint["IPAddress"],
        "ipPrefixLength": float(endpoint["IPPrefixLen"]),
        "gateway": endpoint["Gateway"],
        "globalIpv6Address": endpoint["GlobalIPv6Address"],
        "globalIpv6PrefixLength": float(endpoint["GlobalIPv6PrefixLen"]),
        "ipv6Gateway": endpoint["IPv6Gateway"],
        "macAddress": endpoint["MacAddress"],
    }


def _ports(bindings: dict[str, Any]) -> Value:
    result: list[Value] = []
    for name in sorted(bindings, key=lambda name: int(name.partition("/")[0])):
        internal, _, protocol = name.partition("/")
        result.extend(
            {
                "internal": float(internal),
                "external": float(binding["HostPort"] or 0),
                "ip": binding["HostIp"],
                "protocol": protocol,
            }
            for binding in bindings[name] or ()
        )
    return result


def _extra_host(text: str) -> Value:
    host, _, address = text.partition(":")
    return {"host": host, "ip": address}


def labels(by_name: dict[str, str] | None) -> Value:
    """Labels as pairs, sorted by name."""
    return [{"label": name, "value": value} for name, value in sorted((by_name or {}).items())]


def _list(items: list[str] | None) -> Value:
    return [*(items or ())]


def _map(items: list[dict[str, Any]] | None, read: Callable[[dict[str, Any]], Value]) -> Value:
    return [read(item) for item in items or ()]
