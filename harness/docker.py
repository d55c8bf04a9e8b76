"""The demo's Docker service: its daemon, as tools/bootstrap found or started it, and its port."""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlencode

from harness.docker_api import DockerApi
from harness.http_load import http_get
from harness.incus import HarnessError, bootstrap_parts

OWNED: Final = "flakeup.owner"
"""Label of everything that the program creates: the stack that owns it."""
PORT: Final = 18080
"""The port of the edge in Pulumi.dev.yaml."""
URL: Final = f"http://127.0.0.1:{PORT}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A daemon, and HAProxy as a layer of an image."""

    api: DockerApi
    layer: Path

    @classmethod
    def ready(cls) -> Self:
        """Use what tools/bootstrap has set up.

        Raises:
            HarnessError: this machine has no Docker, and why.
        """
        parts = bootstrap_parts()
        for name in ("docker", "edge"):
            if parts[name]["state"] != "ready":
                msg = f"no {name}: {parts[name]['reason']}; {parts[name]['remedy']}"
                raise HarnessError(msg)
        api = DockerApi(host=str(parts["docker"]["host"]))
        return cls(api=api, layer=Path(parts["edge"]["layer"]))

    def remove(self, owner: str) -> list[str]:
        """Delete the containers and networks of a stack; returns their names."""
        query = urlencode({"all": "1", "filters": json.dumps({"label": [f"{OWNED}={owner}"]})})
        removed = []
        for one in self.api.request("GET", f"/containers/json?{query}"):
            self.api.request("DELETE", f"/containers/{one['Id']}?force=1&v=1")
            removed.append(str(one["Names"][0]).removeprefix("/"))
        for one in self.api.request("GET", f"/networks?{query}"):
            self.api.request("DELETE", f"/networks/{one['Id']}")
            removed.append(str(one["Name"]))
        return removed


def get_app() -> str:
    """What the service answers through its edge.

    Raises:
        HarnessError: there is no answer.
    """
    try:
        return http_get(PORT)
    except (OSError, http.client.HTTPException) as error:
        msg = f"{URL}: {error}"
        raise HarnessError(msg) from None
