"""What the daemon says of a container, in the names of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.sdk.check import without_nulls

from standins.docker.units import cpus, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.sdk.inputs import Inputs
    from providers.sdk.values import Properties, Value

_MIB: Final = 1024 * 1024


def container(seen: dict[str, Any], given: Inputs) -> Properties:
    """The state of a container; `given` says what the program or the last look had.

    As in the release, environment, labels, volumes, networks and files are not looked at: the
    image has a say in them, and what came from where is not to be told apart.
    """
    config, host, state = seen["Config"], seen["HostConfig"], seen["State"]
    found: Properties = {
        **_what_it_runs(seen, given),
        **_what_it_may(host),
        **_what_it_has(host, given),
        **_how_much_it_gets(host),
        "name": seen["Name"].lstrip("/"),
        "rm": host["AutoRemove"],
        "readOnly": host["ReadonlyRootfs"],
        "restart": host["RestartPolicy"]["Name"],
        "maxRetryCount": float(host["RestartPolicy"]["MaximumRetryCount"]),
        "hostname": config["Hostname"],
        "domainname": config["Domainname"],
        **_network(seen, given),
    }
    if not state["Running"]:
        found["exitCode"] = float(state["ExitCode"])
        if given.flag("mustRun"):
            # So the next preview shows a change, and the update after it starts the container.
            found["mustRun"] = False
    return found


def _what_it_runs(seen: dict[str, Any], given: Inputs) -> Properties:
    config, host = seen["Config"], seen["HostConfig"]
    by_id = given.text("image", "").startswith("sha256:")
    timeout = config.get("StopTimeout")
    return {
        "image": seen["Image"] if by_id else config["Image"],
        "command": _texts(config.get("Cmd")),
        "entrypoints": _texts(config.get("Entrypoint")),
        "user": config["User"],
        "workingDir": config["WorkingDir"],
        "healthcheck": _healthcheck(config.get("Healthcheck")),
        "init": bool(host.get("Init")),
        "platform": seen.get("Platform"),
        "stopSignal": config.get("StopSignal"),
        "stopTimeout": None if timeout is None else float(timeout),
        "stdinOpen": config["OpenStdin"],
        "tty": config["Tty"],
    }


def _healthcheck(told: dict[str, Any] | None) -> Value:
    if told is None:
        return None
    times = {
        name: duration(told.get(name[0].upper() + name[1:], 0))
        for name in ("interval", "timeout", "startPeriod", "startInterval")
    }
    return {"tests": _texts(told.get("Test")), **times, "retries": float(told.get("Retries", 0))}


def _what_it_may(host: dict[str, Any]) -> Properties:
    adds, drops = _texts(host.get("CapAdd")), _texts(host.get("CapDrop"))
    return {
        "capabilities": {"adds": adds, "drops": drops} if adds or drops else None,
        "groupAdds": _texts(host.get("GroupAdd")),
        "ipcMode": host["IpcMode"],
        "privileged": host["Privileged"],
        "runtime": host["Runtime"],
        "securityOpts": _texts(host.get("SecurityOpt")),
        "sysctls": host.get("Sysctls"),
        "usernsMode": host["UsernsMode"],
    }


def _what_it_has(host: dict[str, Any], given: Inputs) -> Properties:
    log = host["LogConfig"]
    return {
        "mounts": [mount(each) for each in host.get("Mounts") or ()],
        "tmpfs": host.get("Tmpfs"),
        "devices": _devices(host, given) if given.has("devices") else None,
        "ulimits": _each(host.get("Ulimits"), _ulimit) if given.has("ulimits") else None,
        "shmSize": float(host["ShmSize"] // _MIB),
        "storageOpts": host.get("StorageOpt"),
        "logDriver": log["Type"],
        "logOpts": log["Config"] if given.has("logOpts") else None,
        "pidMode": host["PidMode"] if given.has("pidMode") else None,
    }


def mount(told: dict[str, Any]) -> Value:
    """A mount of a container, or of a service's."""
    found: Properties = {
        "target": told["Target"],
        "source": told.get("Source"),
        "type": told["Type"],
        "readOnly": told.get("ReadOnly", False),
    }
    if bind := told.get("BindOptions"):
        found["bindOptions"] = {"propagation": bind.get("Propagation", "")}
    if volume := told.get("VolumeOptions"):
        driver = volume.get("DriverConfig") or {}
        found["volumeOptions"] = {
            "noCopy": volume.get("NoCopy", False),
            "labels": labels(volume.get("Labels")),
            "driverName": driver.get("Name", ""),
            "driverOptions": driver.get("Options") or {},
            "subpath": volume.get("Subpath", ""),
        }
    if tmpfs := told.get("TmpfsOptions"):
        size, mode = float(tmpfs.get("SizeBytes", 0)), float(tmpfs.get("Mode", 0))
        found["tmpfsOptions"] = {"sizeBytes": size, "mode": mode}
    return without_nulls(found)


def _devices(host: dict[str, Any], given: Inputs) -> Value:
    """With the path in the container only where the program gave one."""
    named = {each.text("hostPath") for each in given.each("devices") if each.text("containerPath")}
    return [_device(device, is_named=device["PathOnHost"] in named) for device in host["Devices"]]


def _device(device: dict[str, Any], *, is_named: bool) -> Value:
    path, permissions = device["PathOnHost"], device["CgroupPermissions"]
    inside = {"containerPath": device["PathInContainer"]} if is_named else {}
    return {"hostPath": path, "permissions": permissions, **inside}


def _ulimit(told: dict[str, Any]) -> Value:
    return {"name": told["Name"], "soft": float(told["Soft"]), "hard": float(told["Hard"])}


def _how_much_it_gets(host: dict[str, Any]) -> Properties:
    swap = host["MemorySwap"]
    return {
        "cpuSet": host["CpusetCpus"],
        "cpuShares": float(host["CpuShares"]),
        "cpus": cpus(host["NanoCpus"]) if host["NanoCpus"] > 0 else None,
        "deviceReadBps": _each(host.get("BlkioDeviceReadBps"), _rate),
        "deviceReadIops": _each(host.get("BlkioDeviceReadIOps"), _rate),
        "deviceWriteBps": _each(host.get("BlkioDeviceWriteBps"), _rate),
        "deviceWriteIops": _each(host.get("BlkioDeviceWriteIOps"), _rate),
        "memory": float(host["Memory"] // _MIB),
        "memoryReservation": float(host["MemoryReservation"] // _MIB),
        "memorySwap": float(swap // _MIB if swap > 0 else swap),
    }


def _rate(told: dict[str, Any]) -> Value:
    return {"path": told["Path"], "rate": float(told["Rate"])}


def _network(seen: dict[str, Any], given: Inputs) -> Properties:
    host, settings = seen["HostConfig"], seen["NetworkSettings"]
    networks = sorted((settings.get("Networks") or {}).items())
    # A container that is stopped has no ports; with `mustRun` that is a change, of its ports too.
    looked = given.has("ports") and (seen["State"]["Running"] or given.flag("mustRun"))
    return {
        "bridge": settings.get("Bridge"),
        "networkDatas": [_endpoint(name, told) for name, told in networks],
        "networkMode": host["NetworkMode"],
        "publishAllPorts": host["PublishAllPorts"],
        "ports": _ports(settings.get("Ports") or {}) if looked else None,
        "dns": _texts(host.get("Dns")),
        "dnsOpts": _texts(host.get("DnsOptions")),
        "dnsSearches": _texts(host.get("DnsSearch")),
        "hosts": [_extra_host(text) for text in host.get("ExtraHosts") or ()],
    }


def _endpoint(name: str, told: dict[str, Any]) -> Value:
    return {
        "networkName": name,
        "ipAddress": told["IPAddress"],
        "ipPrefixLength": float(told["IPPrefixLen"]),
        "gateway": told["Gateway"],
        "globalIpv6Address": told["GlobalIPv6Address"],
        "globalIpv6PrefixLength": float(told["GlobalIPv6PrefixLen"]),
        "ipv6Gateway": told["IPv6Gateway"],
        "macAddress": told["MacAddress"],
    }


def _ports(told: dict[str, Any]) -> Value:
    found: list[Value] = []
    for name in sorted(told, key=lambda name: int(name.partition("/")[0])):
        internal, _, protocol = name.partition("/")
        found.extend(
            {
                "internal": float(internal),
                "external": float(place["HostPort"] or 0),
                "ip": place["HostIp"],
                "protocol": protocol,
            }
            for place in told[name] or ()
        )
    return found


def _extra_host(text: str) -> Value:
    host, _, address = text.partition(":")
    return {"host": host, "ip": address}


def labels(told: dict[str, str] | None) -> Value:
    """Labels as pairs."""
    return [{"label": name, "value": value} for name, value in sorted((told or {}).items())]


def _texts(told: list[str] | None) -> Value:
    return [*(told or ())]


def _each(told: list[dict[str, Any]] | None, read: Callable[[dict[str, Any]], Value]) -> Value:
    return [read(each) for each in told or ()]
