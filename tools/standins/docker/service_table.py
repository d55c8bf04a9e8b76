"""What a service takes and gives, as the schema of pulumi-docker 5.2.0 has it."""

from __future__ import annotations

from typing import Final

from providers.sdk.fields import Field, Shape

from standins.docker.kinds import fixed, labels, nested, objects, unordered

_WHOLE: Final = Field(kind="integer")
_MAP: Final = Field(kind="map")
_LIST: Final = Field(kind="list")


def _part(token: str, fields: dict[str, Field], *, computed: bool = False) -> Field:
    return nested(f"Service{token}", fields, computed=computed, replaces=False)


def _parts(token: str, fields: dict[str, Field]) -> Field:
    return objects(f"Service{token}", fields, replaces=False)


def _rollout(token: str, actions: tuple[str, ...]) -> Field:
    return _part(
        token,
        {
            "delay": Field(default="0s"),
            "failureAction": Field(default="pause", choices=actions),
            "maxFailureRatio": Field(default="0.0"),
            "monitor": Field(default="5s"),
            "order": Field(default="stop-first", choices=("stop-first", "start-first")),
            "parallelism": Field(kind="integer", default=1.0),
        },
    )


_CONTAINER: Final = "TaskSpecContainerSpec"
_MOUNT: Final = {
    "bindOptions": _part(
        f"{_CONTAINER}MountBindOptions", {"propagation": Field(default="rprivate")}
    ),
    "readOnly": Field(kind="boolean"),
    "source": Field(),
    "target": Field(required=True),
    "tmpfsOptions": _part(f"{_CONTAINER}MountTmpfsOptions", {"mode": _WHOLE, "sizeBytes": _WHOLE}),
    "type": Field(required=True, choices=("bind", "volume", "tmpfs")),
    "volumeOptions": _part(
        f"{_CONTAINER}MountVolumeOptions",
        {
            "driverName": Field(),
            "driverOptions": _MAP,
            "labels": labels(f"Service{_CONTAINER}MountVolumeOptions", replaces=False),
            "noCopy": Field(kind="boolean"),
        },
    ),
}
_HEALTHCHECK: Final = {
    "interval": Field(default="0s"),
    "retries": Field(kind="integer", default=0.0),
    "startPeriod": Field(default="0s"),
    "tests": _LIST,
    "timeout": Field(default="0s"),
}
_SECRET: Final = {
    "fileGid": Field(default="0"),
    "fileMode": Field(kind="integer", default=float(0o444)),
    "fileName": Field(required=True),
    "fileUid": Field(default="0"),
    "secretId": Field(required=True),
    "secretName": Field(),
}
_CONTAINER_SPEC: Final = {
    "args": _LIST,
    "capAdds": _LIST,
    "capDrops": _LIST,
    "commands": _LIST,
    "configs": Field(kind="list", items="any"),
    "dir": Field(),
    "dnsConfig": _part(
        f"{_CONTAINER}DnsConfig",
        {"nameservers": Field(kind="list", required=True), "options": _LIST, "searches": _LIST},
        computed=True,
    ),
    "env": _MAP,
    "groups": _LIST,
    "healthcheck": _part(f"{_CONTAINER}Healthcheck", _HEALTHCHECK, computed=True),
    "hostname": Field(),
    "hosts": objects(
        f"Service{_CONTAINER}Host", {"host": Field(required=True), "ip": Field(required=True)}
    ),
    "image": Field(required=True),
    "init": Field(kind="boolean", computed=True),
    "isolation": Field(default="default", choices=("default", "process", "hyperv")),
    "labels": labels(f"Service{_CONTAINER}", replaces=False),
    "mounts": _parts(f"{_CONTAINER}Mount", _MOUNT),
    "privileges": Field(kind="map", items="any"),
    "readOnly": Field(kind="boolean"),
    "secrets": _parts(f"{_CONTAINER}Secret", _SECRET),
    "stopGracePeriod": Field(computed=True),
    "stopSignal": Field(),
    "sysctl": fixed("map"),
    "user": Field(),
}
_TASK_SPEC: Final = {
    "containerSpec": nested(f"Service{_CONTAINER}", _CONTAINER_SPEC, required=True, replaces=False),
    "forceUpdate": Field(kind="integer", computed=True),
    "logDriver": _part("TaskSpecLogDriver", {"name": Field(required=True), "options": _MAP}),
    "networksAdvanceds": objects(
        "ServiceTaskSpecNetworksAdvanced",
        {"aliases": unordered(), "driverOpts": unordered(), "id": fixed(), "name": fixed()},
        replaces=False,
    ),
    "placement": _part(
        "TaskSpecPlacement",
        {
            "constraints": Field(kind="list", unordered=True),
            "maxReplicas": _WHOLE,
            "platforms": Field(kind="list", items="any"),
            "prefs": Field(kind="list", unordered=True),
        },
        computed=True,
    ),
    "resources": _part(
        "TaskSpecResources",
        {
            "limits": _part("TaskSpecResourcesLimits", {"memoryBytes": _WHOLE, "nanoCpus": _WHOLE}),
            "reservation": _part(
                "TaskSpecResourcesReservation", {"memoryBytes": _WHOLE, "nanoCpus": _WHOLE}
            ),
        },
        computed=True,
    ),
    "restartPolicy": _part(
        "TaskSpecRestartPolicy",
        {
            "condition": Field(choices=("none", "on-failure", "any")),
            "delay": Field(),
            "maxAttempts": _WHOLE,
            "window": Field(),
        },
        computed=True,
    ),
    "runtime": Field(computed=True),
}
_PORT: Final = {
    "name": Field(),
    "protocol": Field(default="tcp", choices=("tcp", "udp", "sctp")),
    "publishMode": Field(default="ingress", choices=("host", "ingress")),
    "publishedPort": Field(kind="integer", computed=True),
    "targetPort": Field(kind="integer", required=True),
}
_REPLICATED: Final = _part(
    "ModeReplicated", {"replicas": Field(kind="integer", default=1.0)}, computed=True
)
SERVICE: Final = Shape(
    token="docker:index/service:Service",  # noqa: S106 a type, no password
    fields={
        "auth": Field(kind="map", items="any"),
        "convergeConfig": _part(
            "ConvergeConfig", {"delay": Field(default="7s"), "timeout": Field(default="3m")}
        ),
        "endpointSpec": _part(
            "EndpointSpec",
            {
                "mode": Field(computed=True, choices=("vip", "dnsrr")),
                "ports": _parts("EndpointSpecPort", _PORT),
            },
            computed=True,
        ),
        "labels": labels("Service", computed=True, replaces=False),
        "mode": nested(
            "ServiceMode",
            {"global": Field(kind="boolean", default=False), "replicated": _REPLICATED},
            computed=True,
            # Forced for the block alone, which Terraform's SDK does not hand on to what is in it:
            # the release's own tests change the number of replicas in place.
            replaces=False,
        ),
        "name": fixed(),
        "rollbackConfig": _rollout("RollbackConfig", ("pause", "continue")),
        "taskSpec": nested("ServiceTaskSpec", _TASK_SPEC, required=True, replaces=False),
        "updateConfig": _rollout("UpdateConfig", ("pause", "continue", "rollback")),
    },
)
