"""A service as the daemon's API has it, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.sdk.check import without_nulls
from providers.sdk.inputs import Inputs

from standins.docker import body, look
from standins.docker.exchange import Pair, asked, seen

if TYPE_CHECKING:
    from providers.sdk.values import Properties, Value

_HEALTHCHECK: Final = (
    Pair("tests", "Test", "texts"),
    Pair("interval", "Interval", "duration", zero="0s"),
    Pair("timeout", "Timeout", "duration", zero="0s"),
    Pair("startPeriod", "StartPeriod", "duration", zero="0s"),
    Pair("retries", "Retries", "whole", zero=0.0),
)
_DNS: Final = (
    Pair("nameservers", "Nameservers", "texts"),
    Pair("searches", "Search", "texts"),
    Pair("options", "Options", "texts"),
)
_CONTAINER: Final = (
    Pair("image", "Image"),
    Pair("labels", "Labels", "labels"),
    Pair("commands", "Command", "texts"),
    Pair("args", "Args", "texts"),
    Pair("hostname", "Hostname"),
    Pair("env", "Env", "variables"),
    Pair("dir", "Dir"),
    Pair("user", "User"),
    Pair("groups", "Groups", "texts"),
    Pair("readOnly", "ReadOnly", "flag"),
    Pair("stopSignal", "StopSignal"),
    Pair("stopGracePeriod", "StopGracePeriod", "duration"),
    Pair("healthcheck", "Healthcheck", "object", _HEALTHCHECK),
    Pair("dnsConfig", "DNSConfig", "object", _DNS),
    Pair("isolation", "Isolation"),
    Pair("sysctl", "Sysctls", "map"),
    Pair("capAdds", "CapabilityAdd", "texts"),
    Pair("capDrops", "CapabilityDrop", "texts"),
    Pair("init", "Init", "flag"),
)
_AMOUNT: Final = (
    Pair("nanoCpus", "NanoCPUs", "whole"),
    Pair("memoryBytes", "MemoryBytes", "whole"),
)
_RESOURCES: Final = (
    Pair("limits", "Limits", "object", _AMOUNT),
    Pair("reservation", "Reservations", "object", _AMOUNT),
)
_RESTART: Final = (
    Pair("condition", "Condition"),
    Pair("delay", "Delay", "duration"),
    Pair("maxAttempts", "MaxAttempts", "whole"),
    Pair("window", "Window", "duration"),
)
_PLACEMENT: Final = (
    Pair("constraints", "Constraints", "texts"),
    Pair("maxReplicas", "MaxReplicas", "whole"),
)
_LOG: Final = (Pair("name", "Name"), Pair("options", "Options", "map"))
_TASK: Final = (
    Pair("containerSpec", "ContainerSpec", "object", _CONTAINER),
    Pair("resources", "Resources", "object", _RESOURCES),
    Pair("restartPolicy", "RestartPolicy", "object", _RESTART),
    Pair("placement", "Placement", "object", _PLACEMENT),
    Pair("logDriver", "LogDriver", "object", _LOG),
    Pair("forceUpdate", "ForceUpdate", "whole"),
    Pair("runtime", "Runtime"),
)
_ROLLOUT: Final = (
    Pair("parallelism", "Parallelism", "whole", zero=0.0),
    Pair("delay", "Delay", "duration", zero="0s"),
    Pair("failureAction", "FailureAction"),
    Pair("monitor", "Monitor", "duration", zero="0s"),
    Pair("maxFailureRatio", "MaxFailureRatio", "ratio", zero="0.0"),
    Pair("order", "Order"),
)
_PORT: Final = (
    Pair("name", "Name"),
    Pair("protocol", "Protocol"),
    Pair("targetPort", "TargetPort", "whole"),
    Pair("publishedPort", "PublishedPort", "whole"),
    Pair("publishMode", "PublishMode"),
)


def spec(inputs: Inputs) -> dict[str, Any]:
    """The whole request; networks stand in it as the program names them."""
    task = inputs.inside("taskSpec") or Inputs({})
    template = asked(task, _TASK) or {}
    given = task.inside("containerSpec") or Inputs({})
    container = template["ContainerSpec"]
    container["Mounts"] = [body.mount(each) for each in given.each("mounts")]
    container["Secrets"] = [_secret(each) for each in given.each("secrets")]
    container["Hosts"] = [f"{each.text('ip')} {each.text('host')}" for each in given.each("hosts")]
    template["Networks"] = [
        {**body.endpoint(each), "Target": each.text("id") or each.text("name", "")}
        for each in task.each("networksAdvanceds")
    ]
    whole = {
        "Name": inputs.text("name"),
        "Labels": body.labels(inputs),
        "TaskTemplate": template,
        "Mode": _mode(inputs.inside("mode")),
        "UpdateConfig": asked(inputs.inside("updateConfig"), _ROLLOUT),
        "RollbackConfig": asked(inputs.inside("rollbackConfig"), _ROLLOUT),
        "EndpointSpec": _endpoint(inputs.inside("endpointSpec")),
    }
    return {name: value for name, value in whole.items() if value is not None}


def _secret(given: Inputs) -> dict[str, Any]:
    file = {
        "Name": given.text("fileName", ""),
        "UID": given.text("fileUid", "0"),
        "GID": given.text("fileGid", "0"),
        "Mode": given.whole("fileMode", 0o444),
    }
    identity, name = given.text("secretId", ""), given.text("secretName", "")
    return {"File": file, "SecretID": identity, "SecretName": name}


def _seen_secret(told: dict[str, Any]) -> Value:
    file = told.get("File") or {}
    found: Properties = {
        "secretId": told["SecretID"],
        "secretName": told.get("SecretName") or None,
        "fileName": file.get("Name", ""),
        "fileUid": file.get("UID") or None,
        "fileGid": file.get("GID") or None,
        "fileMode": float(file.get("Mode", 0)),
    }
    return without_nulls(found)


def _mode(given: Inputs | None) -> dict[str, Any]:
    if given is not None and given.flag("global"):
        return {"Global": {}}
    replicated = given.inside("replicated") if given is not None else None
    return {"Replicated": {"Replicas": replicated.whole("replicas", 1) if replicated else 1}}


def _endpoint(given: Inputs | None) -> dict[str, Any] | None:
    if given is None:
        return None
    mode = {"Mode": text} if (text := given.text("mode")) else {}
    return {**mode, "Ports": [asked(port, _PORT) for port in given.each("ports")]}


def state(told: dict[str, Any]) -> Properties:
    """The state of a service."""
    wanted = told["Spec"]
    task = seen(wanted["TaskTemplate"], _TASK) or {}
    container = wanted["TaskTemplate"]["ContainerSpec"]
    held = task.get("containerSpec")
    if isinstance(held, dict):
        held["mounts"] = [look.mount(each) for each in container.get("Mounts") or ()]
        held["hosts"] = [_host(text) for text in container.get("Hosts") or ()]
        if told_secrets := container.get("Secrets"):
            held["secrets"] = [_seen_secret(each) for each in told_secrets]
    networks = wanted["TaskTemplate"].get("Networks")
    task["networksAdvanceds"] = [_network(each) for each in networks] if networks else None
    return {
        "name": wanted["Name"],
        "labels": look.labels(wanted.get("Labels")),
        "taskSpec": without_nulls(task),
        "mode": _seen_mode(wanted["Mode"]),
        "updateConfig": seen(wanted.get("UpdateConfig"), _ROLLOUT),
        "rollbackConfig": seen(wanted.get("RollbackConfig"), _ROLLOUT),
        "endpointSpec": _seen_endpoint(told),
    }


def _host(text: str) -> Value:
    address, _, host = text.partition(" ")
    return {"ip": address, "host": host}


def _network(told: dict[str, Any]) -> Value:
    options = [f"{name}={value}" for name, value in (told.get("DriverOpts") or {}).items()]
    return {
        "id": told["Target"],
        "aliases": [*(told.get("Aliases") or ())],
        "driverOpts": [*options],
    }


def _seen_mode(told: dict[str, Any]) -> Value:
    replicated = told.get("Replicated")
    if replicated is None:
        return {"global": True}
    return {"global": False, "replicated": {"replicas": float(replicated.get("Replicas", 1))}}


def _seen_endpoint(told: dict[str, Any]) -> Value:
    endpoint = told.get("Endpoint") or {}
    spec_told = endpoint.get("Spec") or told["Spec"].get("EndpointSpec") or {}
    ports = endpoint.get("Ports") or spec_told.get("Ports") or ()
    return {"mode": spec_told.get("Mode", ""), "ports": [seen(port, _PORT) for port in ports]}
