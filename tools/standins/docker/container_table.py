"""What a container takes and gives, as the schema of pulumi-docker 5.2.0 has it.

Which changes replace, which values the daemon fills in and what the defaults are: as the Terraform
provider behind the release says it.
"""

from __future__ import annotations

from typing import Final

from providers.sdk.fields import Field, Shape

from standins.docker.kinds import fixed, labels, nested, objects, unordered

_RESTART: Final = ("no", "on-failure", "always", "unless-stopped")


def _rates(token: str) -> Field:
    rate = Field(kind="integer", required=True)
    return objects(token, {"path": Field(required=True), "rate": rate}, replaces=False)


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
    "ip": Field(default="0.0.0.0"),  # noqa: S104 the release's default
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
_NETWORK_OF_CONTAINER: Final = {
    "aliases": unordered(),
    "driverOpts": unordered(),
    "gwPriority": Field(kind="integer"),
    "ipv4Address": Field(),
    "ipv6Address": Field(),
    "linkLocalIps": unordered(),
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
_VOLUME_OF_CONTAINER: Final = {
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
    "capabilities": unordered(),
    "count": Field(kind="integer", default=0.0),
    "deviceIds": unordered(),
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
_WHAT_IT_RUNS: Final = {
    "image": fixed(required=True),
    "command": fixed("list", computed=True),
    "entrypoints": fixed("list", computed=True),
    "envs": unordered(computed=True),
    "workingDir": fixed(computed=True),  # an empty one is whatever the image says
    "user": fixed(computed=True),  # likewise
    "labels": labels("Container", computed=True),
    "uploads": objects("ContainerUpload", _UPLOAD),
    "healthcheck": nested("ContainerHealthcheck", _HEALTHCHECK, computed=True, replaces=False),
    "stopSignal": fixed(computed=True),
    "stopTimeout": fixed("integer", computed=True),
    "stdinOpen": Field(kind="boolean", default=False, replaces=True),
    "tty": Field(kind="boolean", default=False, replaces=True),
    "init": Field(kind="boolean", computed=True),
    "platform": fixed(computed=True),
}
_WHERE_IT_IS: Final = {
    "hostname": fixed(computed=True),
    "domainname": fixed(),
    "networkMode": Field(default="bridge", replaces=True),
    "networksAdvanced": objects("ContainerNetworksAdvanced", _NETWORK_OF_CONTAINER),
    "ports": objects("ContainerPort", _PORT),
    "publishAllPorts": fixed("boolean"),
    "dns": unordered(),
    "dnsOpts": unordered(),
    "dnsSearches": unordered(),
    "hosts": objects("ContainerHost", {"host": Field(required=True), "ip": Field(required=True)}),
}
_WHAT_IT_HAS: Final = {
    "mounts": objects("ContainerMount", _MOUNT),
    "volumes": objects("ContainerVolume", _VOLUME_OF_CONTAINER),
    "tmpfs": Field(kind="map"),
    "devices": objects("ContainerDevice", _DEVICE),
    "deviceRequests": objects("ContainerDeviceRequest", _DEVICE_REQUEST),
    "gpus": fixed(),
    "shmSize": fixed("integer", computed=True),
    "storageOpts": fixed("map"),
    "logDriver": fixed(computed=True),
    "logOpts": fixed("map"),
    "readOnly": Field(kind="boolean", default=False, replaces=True),
}
_WHAT_IT_MAY: Final = {
    "capabilities": nested("ContainerCapabilities", {"adds": unordered(), "drops": unordered()}),
    "cgroupParent": fixed(),
    "cgroupnsMode": fixed(),
    "deviceCgroupRules": unordered(),
    "groupAdds": unordered(),
    "ipcMode": fixed(computed=True),
    "pidMode": fixed(),
    "privileged": fixed("boolean"),
    "runtime": fixed(computed=True),
    "securityOpts": unordered(computed=True),
    "sysctls": fixed("map"),
    "ulimits": objects("ContainerUlimit", _ULIMIT),
    "usernsMode": fixed(),
}
_HOW_MUCH_IT_GETS: Final = {
    "cpuPeriod": Field(kind="integer"),
    "cpuQuota": Field(kind="integer"),
    "cpuSet": Field(),
    "cpuShares": Field(kind="integer"),
    "cpus": fixed(),
    "deviceReadBps": _rates("ContainerDeviceReadBp"),
    "deviceReadIops": _rates("ContainerDeviceReadIop"),
    "deviceWriteBps": _rates("ContainerDeviceWriteBp"),
    "deviceWriteIops": _rates("ContainerDeviceWriteIop"),
    "memory": Field(kind="integer"),
    "memoryReservation": Field(kind="integer", default=0.0),
    "memorySwap": Field(kind="integer"),
}
_HOW_IT_IS_TREATED: Final = {
    "attach": Field(kind="boolean", default=False),
    "containerReadRefreshTimeoutMilliseconds": Field(kind="integer", default=15000.0),
    "destroyGraceSeconds": Field(kind="integer"),
    "logs": Field(kind="boolean", default=False),
    "maxRetryCount": Field(kind="integer"),
    "mustRun": Field(kind="boolean", default=True),
    "name": fixed(),
    "removeVolumes": Field(kind="boolean", default=True),
    "restart": Field(default="no", choices=_RESTART),
    "rm": Field(kind="boolean", default=False),
    "start": Field(kind="boolean", default=True),
    "wait": Field(kind="boolean", default=False),
    "waitTimeout": Field(kind="integer", default=60.0),
}
CONTAINER: Final = Shape(
    token="docker:index/container:Container",  # noqa: S106 a type, no password
    fields={
        **_WHAT_IT_RUNS,
        **_WHERE_IT_IS,
        **_WHAT_IT_HAS,
        **_WHAT_IT_MAY,
        **_HOW_MUCH_IT_GETS,
        **_HOW_IT_IS_TREATED,
    },
    outputs={
        "bridge": Field(),
        "containerLogs": Field(),
        "exitCode": Field(kind="integer"),
        "networkDatas": objects("ContainerNetworkData", _NETWORK_DATA),
    },
)
