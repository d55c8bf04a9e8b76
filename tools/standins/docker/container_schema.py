"""The schema of containers, as in pulumi-docker 5.2.0.

Which changes replace, which values are computed and what the defaults are follows the Terraform
provider that the released plugin bridges.
"""

from __future__ import annotations

from typing import Final

from providers.sdk.schema import Field, Schema

from standins.docker.fields import immutable, labels, nested, object_set, string_set

_RESTART: Final = ("no", "on-failure", "always", "unless-stopped")


def _rates(token: str) -> Field:
    rate = Field(kind="integer", required=True)
    return object_set(token, {"path": Field(required=True), "rate": rate}, replaces=False)


_TMPFS_OPTIONS: Final = {"mode": Field(kind="integer"), "sizeBytes": Field(kind="integer")}
_VOLUME_OPTIONS: Final = {
    "driverName": Field(),
    "driverOptions": Field(kind="map"),
    "labels": labels("ContainerMountVolumeOptions"),
    "noCopy": Field(kind="boolean"),
    "subpath": Field(),
}
_MOUNT: Final = {
    "bindOptions": nested("ContainerMountBindOptions", {"propagation": Field()}),
    "readOnly": Field(kind="boolean"),
    "source": Field(),
    "target": Field(required=True),
    "tmpfsOptions": nested("ContainerMountTmpfsOptions", _TMPFS_OPTIONS),
    "type": Field(required=True, choices=("bind", "volume", "tmpfs")),
    "volumeOptions": nested("ContainerMountVolumeOptions", _VOLUME_OPTIONS),
}
_PORT: Final = {
    "external": Field(kind="integer", computed=True),
    "internal": Field(kind="integer", required=True),
    "ip": Field(default="0.0.0.0"),  # noqa: S104 the released plugin's default
    "protocol": Field(default="tcp"),
}
_HEALTHCHECK: Final = {
    "interval": Field(default="0s"),
    "retries": Field(kind="integer", default=0.0),
    "startInterval": Field(default="0s"),
    "startPeriod": Field(default="0s"),
    "tests": Field(kind="list"),
    "timeout": Field(default="0s"),
}
_NETWORK_ADVANCED: Final = {
    "aliases": string_set(),
    "driverOpts": string_set(),
    "gwPriority": Field(kind="integer"),
    "ipv4Address": Field(),
    "ipv6Address": Field(),
    "linkLocalIps": string_set(),
    "macAddress": Field(),
    "name": Field(required=True),
}
_UPLOAD: Final = {
    "content": Field(),
    "contentBase64": Field(),
    "executable": Field(kind="boolean", default=False),
    "file": Field(required=True),
    "group": Field(),
    "owner": Field(),
    "permissions": Field(),
    "source": Field(),
    "sourceHash": Field(),
}
_VOLUME: Final = {
    "containerPath": Field(),
    "fromContainer": Field(),
    "hostPath": Field(),
    "readOnly": Field(kind="boolean"),
    "selinuxRelabel": Field(choices=("z", "Z")),
    "volumeName": Field(),
}
_DEVICE: Final = {
    "containerPath": Field(),
    "hostPath": Field(required=True),
    "permissions": Field(default="rwm"),
}
_DEVICE_REQUEST: Final = {
    "capabilities": string_set(),
    "count": Field(kind="integer", default=0.0),
    "deviceIds": string_set(),
    "driver": Field(default="cdi"),
    "options": Field(kind="map"),
}
_ULIMIT: Final = {
    "hard": Field(kind="integer", required=True),
    "name": Field(required=True),
    "soft": Field(kind="integer", required=True),
}
_NETWORK_DATA: Final = {
    "gateway": Field(),
    "globalIpv6Address": Field(),
    "globalIpv6PrefixLength": Field(kind="integer"),
    "ipAddress": Field(),
    "ipPrefixLength": Field(kind="integer"),
    "ipv6Gateway": Field(),
    "macAddress": Field(),
    "networkName": Field(),
}
_PROCESS: Final = {
    "image": immutable(required=True),
    "command": immutable("list", computed=True),
    "entrypoints": immutable("list", computed=True),
    "envs": string_set(computed=True),
    "workingDir": immutable(computed=True),  # computed: if empty, it is the image's
    "user": immutable(computed=True),  # likewise
    "labels": labels("Container", computed=True),
    "uploads": object_set("ContainerUpload", _UPLOAD),
    "healthcheck": nested("ContainerHealthcheck", _HEALTHCHECK, computed=True, replaces=False),
    "stopSignal": immutable(computed=True),
    "stopTimeout": immutable("integer", computed=True),
    "stdinOpen": Field(kind="boolean", default=False, replaces=True),
    "tty": Field(kind="boolean", default=False, replaces=True),
    "init": Field(kind="boolean", computed=True),
    "platform": immutable(computed=True),
}
_NETWORKING: Final = {
    "hostname": immutable(computed=True),
    "domainname": immutable(),
    "networkMode": Field(default="bridge", replaces=True),
    "networksAdvanced": object_set("ContainerNetworksAdvanced", _NETWORK_ADVANCED),
    "ports": object_set("ContainerPort", _PORT),
    "publishAllPorts": immutable("boolean"),
    "dns": string_set(),
    "dnsOpts": string_set(),
    "dnsSearches": string_set(),
    "hosts": object_set(
        "ContainerHost", {"host": Field(required=True), "ip": Field(required=True)}
    ),
}
_STORAGE_AND_DEVICES: Final = {
    "mounts": object_set("ContainerMount", _MOUNT),
    "volumes": object_set("ContainerVolume", _VOLUME),
    "tmpfs": Field(kind="map"),
    "devices": object_set("ContainerDevice", _DEVICE),
    "deviceRequests": object_set("ContainerDeviceRequest", _DEVICE_REQUEST),
    "gpus": immutable(),
    "shmSize": immutable("integer", computed=True),
    "storageOpts": immutable("map"),
    "logDriver": immutable(computed=True),
    "logOpts": immutable("map"),
    "readOnly": Field(kind="boolean", default=False, replaces=True),
}
_SECURITY: Final = {
    "capabilities": nested("ContainerCapabilities", {"adds": string_set(), "drops": string_set()}),
    "cgroupParent": immutable(),
    "cgroupnsMode": immutable(),
    "deviceCgroupRules": string_set(),
    "groupAdds": string_set(),
    "ipcMode": immutable(computed=True),
    "pidMode": immutable(),
    "privileged": immutable("boolean"),
    "runtime": immutable(computed=True),
    "securityOpts": string_set(computed=True),
    "sysctls": immutable("map"),
    "ulimits": object_set("ContainerUlimit", _ULIMIT),
    "usernsMode": immutable(),
}
_LIMITS: Final = {
    "cpuPeriod": Field(kind="integer"),
    "cpuQuota": Field(kind="integer"),
    "cpuSet": Field(),
    "cpuShares": Field(kind="integer"),
    "cpus": immutable(),
    "deviceReadBps": _rates("ContainerDeviceReadBp"),
    "deviceReadIops": _rates("ContainerDeviceReadIop"),
    "deviceWriteBps": _rates("ContainerDeviceWriteBp"),
    "deviceWriteIops": _rates("ContainerDeviceWriteIop"),
    "memory": Field(kind="integer"),
    "memoryReservation": Field(kind="integer", default=0.0),
    "memorySwap": Field(kind="integer"),
}
_LIFECYCLE: Final = {
    "attach": Field(kind="boolean", default=False),
    "containerReadRefreshTimeoutMilliseconds": Field(kind="integer", default=15000.0),
    "destroyGraceSeconds": Field(kind="integer"),
    "logs": Field(kind="boolean", default=False),
    "maxRetryCount": Field(kind="integer"),
    "mustRun": Field(kind="boolean", default=True),
    "name": immutable(),
    "removeVolumes": Field(kind="boolean", default=True),
    "restart": Field(default="no", choices=_RESTART),
    "rm": Field(kind="boolean", default=False),
    "start": Field(kind="boolean", default=True),
    "wait": Field(kind="boolean", default=False),
    "waitTimeout": Field(kind="integer", default=60.0),
}
CONTAINER: Final = Schema(
    token="docker:index/container:Container",  # noqa: S106 a type, no password
    fields={
        **_PROCESS,
        **_NETWORKING,
        **_STORAGE_AND_DEVICES,
        **_SECURITY,
        **_LIMITS,
        **_LIFECYCLE,
    },
    outputs={
        "bridge": Field(),
        "containerLogs": Field(),
        "exitCode": Field(kind="integer"),
        "networkDatas": object_set("ContainerNetworkData", _NETWORK_DATA),
    },
)
