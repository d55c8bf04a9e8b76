"""The `incus` command, in the project that tools/bootstrap created.

For hosts of the demo and the tests; what the REST API does well is in `harness.incus_api`.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 60.0
"""Seconds for one command."""
_TRIES = 5
_END = "end-of-output"
_MARKED = 'end=$1; shift; "$@"; code=$?; printf %s "$end"; exit $code'


def own_prefix(name: str) -> str:
    """A prefix for instances of this checkout alone: tests of another one do not remove them."""
    return f"{name}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"


class HarnessError(Exception):
    """A demo, a benchmark or a test cannot continue; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A container, as Incus lists it."""

    name: str
    running: bool
    address: str | None
    """Its IPv4 address, once it has one."""
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incus:
    """An Incus project and the image of hosts in it."""

    project: str
    image: str
    """Its alias, which changes with the recipe of the image."""
    root: Path | None = None
    """The file of the root file system that it is made from."""
    environment: Mapping[str, str] | None = None
    """The environment of `incus`, if it is not that of this process."""

    @classmethod
    def ready(cls, *, with_image: bool = True) -> Self:
        """Use what tools/bootstrap has set up.

        Raises:
            HarnessError: this machine cannot run containers, and why.
        """
        parts = bootstrap_parts()
        for name in ("incus", "image") if with_image else ("incus",):
            if parts[name]["state"] != "ready":
                msg = f"no Incus containers: {parts[name]['reason']}; {parts[name]['remedy']}"
                raise HarnessError(msg)
        image = parts["image"]
        root = Path(image["root"]) if image.get("root") else None
        return cls(project=parts["incus"]["project"], image=image.get("alias", ""), root=root)

    def call(self, *words: str, stdin: str = "", timeout: float = TIMEOUT) -> str:
        """Run `incus WORDS`; returns its stdout.

        Raises:
            HarnessError: it failed; the message has its output.
        """
        done = self.attempt(*words, stdin=stdin, timeout=timeout)
        if done.returncode:
            output = (done.stderr or done.stdout).strip()[-2000:]
            msg = f"`incus {' '.join(words[:3])}` exited with status {done.returncode}: {output}"
            raise HarnessError(msg)
        return done.stdout

    def query(self, instance: str, *argv: str, timeout: float = TIMEOUT) -> str:
        """The output of a read-only command in an instance.

        Once in some thousand times, more often under load, `incus exec` succeeds and loses the
        output, or the end of it: the command is then run again.

        Raises:
            HarnessError: it failed, or its output was lost each time.
        """
        marked = ("exec", instance, "-T", "--", "sh", "-c", _MARKED, "sh", _END, *argv)
        for _ in range(_TRIES):
            text = self.call(*marked, timeout=timeout)
            if text.endswith(_END):
                return text.removesuffix(_END)
        msg = f"`incus exec {instance}` lost the output of {shlex.join(argv)} {_TRIES} times"
        raise HarnessError(msg)

    def attempt(
        self, *words: str, stdin: str = "", timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run `incus WORDS`, whatever its exit status."""
        argv = ("incus", "--project", self.project, *words)
        try:
            return subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                env=self.environment,
            )
        except subprocess.TimeoutExpired:
            msg = f"`incus {' '.join(words[:3])}` is still running after {timeout:g} s"
            raise HarnessError(msg) from None

    def instances(self, prefix: str) -> dict[str, Instance]:
        """The containers whose names begin with `prefix-`, by name."""
        rows = json.loads(self.call("list", f"^{prefix}-", "--format", "json"))
        found = (_instance(row) for row in rows)
        return {one.name: one for one in found if one.name.startswith(f"{prefix}-")}


def bootstrap_parts() -> dict[str, dict[str, Any]]:
    """The status of each part of the toolchain, by `tools/bootstrap --status`.

    Raises:
        HarnessError: there is no status.
    """
    argv = (sys.executable, ROOT / "tools" / "bootstrap", "--status", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    try:
        parts: dict[str, dict[str, Any]] = json.loads(done.stdout)["parts"]
    except (ValueError, KeyError):
        msg = f"tools/bootstrap --status failed: {done.stderr.strip()[-500:]}"
        raise HarnessError(msg) from None
    return parts


def _instance(row: dict[str, Any]) -> Instance:
    networks = (row.get("state") or {}).get("network") or {}
    addresses = (networks.get("eth0") or {}).get("addresses") or ()
    own = (a["address"] for a in addresses if a["family"] == "inet" and a["scope"] == "global")
    return Instance(
        name=row["name"],
        running=row["status"] == "Running",
        address=next(own, None),
        config=row["config"],
    )
