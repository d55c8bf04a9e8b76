"""The demo's steps: a release, a preview, an update, and a rollback, each of them verified."""

import json
import re
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

from demo.terminal import Terminal, plain
from harness import docker, hosts
from harness.command_result import CommandResult
from harness.docker import Docker
from harness.hosts import PORT, ContainerHost
from harness.http_load import Load
from harness.incus import HarnessError, Incus
from harness.state import recorded
from harness.workspace import Workspace

PREFIX: Final = "flakeup-demo"
OWNER: Final = "flakeup/dev"
"""The demo's stack, as recorded on what it creates."""
USERS: Final = {"web1": "root", "web2": "deploy"}
"""The login user of each host: root, and a user with passwordless sudo."""
STEADY: Final = "steady.service"
"""A unit that is the same in every release of the app."""
WORKER: Final = "app-worker.service"
"""A unit that changes with every release."""
_CHANGE: Final = re.compile(r"^ *(\S+): (/nix/store/\S+) → (/nix/store/\S+)$", re.MULTILINE)
_UP: Final = ("up", "--yes", "--skip-preview")

Started = dict[str, dict[str, int]]
"""Host → unit → time of its start."""


@dataclass(slots=True, kw_only=True)
class Story:
    """One run of the demo."""

    terminal: Terminal
    workspace: Workspace
    fresh: bool
    """Whether to remove existing hosts first, as their state is unknown."""
    hosts: dict[str, ContainerHost] = field(default_factory=dict)
    docker: Docker | None = None

    def run(self) -> None:
        """Run all steps.

        Raises:
            HarnessError: one of them failed; the last step says how.
        """
        self._create_stack()
        self._create_hosts("v1")
        self._verify_app("v1")
        named = self._preview("v2")
        self._update("v2", named)
        self._verify_app("v2")
        self._repeat_up()
        self._deploy_broken("v3", stays="v2")
        self._verify_app("v2")
        self._recover("v2")
        self._release("roll back to v1: the same command, with the old release", "v1")
        self._verify_app("v1")

    # --- steps -----------------------------------------------------------------------------

    def _create_stack(self) -> None:
        with self.terminal.step("create a project and a stack: a flake, an app, a config") as step:
            incus = Incus.ready()
            self._find_docker()
            if self.fresh and (removed := self._sweep(incus)):
                self.terminal.say(f"  removed, left by an earlier run: {', '.join(removed)}")
            self.workspace.prepare(incus.root, self.docker.layer if self.docker else None)
            new = self.workspace.configure(services=self.docker is not None, owner=OWNER)
            step.detail = f"{self.workspace.config} {'written' if new else 'is up to date'}"
            step.detail += ", with the ssh key as a secret"

    def _find_docker(self) -> None:
        """Show the Docker service only where there is a Docker daemon."""
        try:
            self.docker = Docker.ready()
        except HarnessError as error:
            self.terminal.say(f"  the demo leaves the Docker service out: {error}", "yellow")

    def _sweep(self, incus: Incus) -> list[str]:
        gone = hosts.remove(PREFIX, incus=incus, owner=OWNER)
        return gone + (self.docker.remove(OWNER) if self.docker else [])

    def _create_hosts(self, ref: str) -> None:
        with self.terminal.step(f"`pulumi up` creates two Incus hosts and deploys {ref}") as step:
            self._type("config", "set", "appRef", ref)
            result = self._type(*_UP)
            self.hosts = hosts.existing(PREFIX, tuple(USERS), incus=Incus.ready())
            where = (f"{host.name} at {host.address}" for host in self.hosts.values())
            step.detail = f"{_summary(result)}; {', '.join(where)}"

    def _release(self, name: str, ref: str) -> None:
        with self.terminal.step(name) as step:
            self._type("config", "set", "appRef", ref)
            result = self._type(*_UP)
            step.detail = f"`pulumi up`: {_summary(result)}"

    def _verify_app(self, version: str) -> None:
        with self.terminal.step(f"the app answers as {version}") as step:
            answers = []
            for name, host in self.hosts.items():
                self.terminal.command(f"curl http://{host.address}:{PORT}/")
                began = time.monotonic()
                answers.append(host.http())
                self.terminal.output(answers[-1])
                self.terminal.ended(time.monotonic() - began)
                _expect(answers[-1], f"app {version} on {name}", f"{name} answers")
            if self.docker:
                self.terminal.command(f"curl {docker.URL}")
                began = time.monotonic()
                answers.append(docker.get_app())
                self.terminal.output(answers[-1])
                self.terminal.ended(time.monotonic() - began)
                _expect(answers[-1], f"app {version} on docker", "the Docker service answers")
            step.detail = ", ".join(answers)

    def _preview(self, ref: str) -> dict[str, str]:
        """Preview the release; returns the new system of each host."""
        with self.terminal.step(f"preview {ref}: nothing is built or copied yet") as step:
            before = self._systems()
            self._type("config", "set", "appRef", ref)
            result = self._type("preview", "--diff")
            old, new = _named(result)
            _expect(old, before, "the preview says the hosts run")
            _expect(self._systems(), before, "after the preview the hosts run")
            step.detail = (
                f"`pulumi preview`: {_summary(result)}; with the old and new system of each host"
            )
            return new

    def _update(self, ref: str, named: dict[str, str]) -> None:
        with self.terminal.step(f"update to {ref}: build, copy, activate") as step:
            before = self._started()
            with self._load() as load:
                result = self._type(*_UP)
            _expect(self._systems(), named, "the hosts run")
            after = self._started()
            for name in self.hosts:
                if before[name].get(STEADY) != after[name].get(STEADY):
                    msg = f"{name}: {STEADY} was restarted, though it is the same in both releases"
                    raise HarnessError(msg)
                if before[name].get(WORKER) == after[name].get(WORKER):
                    msg = f"{name}: {WORKER} was not restarted, though it changed"
                    raise HarnessError(msg)
            step.detail = f"{_summary(result)}; the hosts run what the preview named;"
            step.detail += f" {WORKER} was restarted, {STEADY} was not"
            step.detail += _load_detail(load)

    def _repeat_up(self) -> None:
        with self.terminal.step("another `pulumi up` changes nothing") as step:
            before = self._started()
            result = self._type(*_UP)
            if (summary := _summary(result)) != _unchanged(result):
                msg = f"the `up` changed something: {summary}"
                raise HarnessError(msg)
            self._expect_no_restart(before)
            count = sum(map(len, before.values()))
            step.detail = f"{summary}; none of {count} active units was restarted"

    def _deploy_broken(self, ref: str, *, stays: str) -> None:
        """A broken release: the canary rolls back by itself, and the rest is not touched."""
        with self.terminal.step(f"{ref} is broken: the hosts stay on {stays}") as step:
            before = self._systems()
            self._type("config", "set", "appRef", ref)
            with self._load() as load:
                result = self._type(*_UP, fails=True)
            if not result.code:
                msg = f"`pulumi up` to {ref} succeeded, though the release is broken"
                raise HarnessError(msg)
            _expect(self._systems(), before, "after the failed `up` the hosts run")
            _expect(self._recorded(), before, "after the failed `up` the state records")
            for name, host in self.hosts.items():
                state = host.exec("systemctl", "is-active", WORKER).strip()
                _expect(state, "active", f"{WORKER} on {name} is")
            step.detail = f"`pulumi up` failed, as it should; hosts and state are still on {stays}"
            step.detail += _load_detail(load)

    def _recover(self, ref: str) -> None:
        with self.terminal.step(f"set appRef back to {ref}: the hosts are not touched") as step:
            self._type("config", "set", "appRef", ref)
            before = self._started()
            result = self._type(*_UP)
            self._expect_no_restart(before)
            step.detail = f"{_summary(result)}; no unit was restarted"

    # --- helpers ---------------------------------------------------------------------------

    def _type(self, *words: str, fails: bool = False) -> CommandResult:
        """Run and show a `pulumi` command, which may fail only with `fails`."""
        result = self.workspace.pulumi(*words, colour=self.terminal.colour)
        if result.code and not fails:
            last = [line.strip() for line in plain(result.text).splitlines() if "error:" in line]
            why = last[-1] if last else "see its output above"
            msg = f"`pulumi {words[0]}` exited with status {result.code}: {why}"
            raise HarnessError(msg)
        return result

    def _systems(self) -> dict[str, str]:
        """The system that each host runs."""
        readlink = ("readlink", "-f", "/run/current-system")
        return {name: host.exec(*readlink).strip() for name, host in self.hosts.items()}

    def _expect_no_restart(self, before: Started) -> None:
        after = self._started()
        for name, units in before.items():
            if moved := sorted(unit for unit in units if after[name].get(unit) != units[unit]):
                msg = f"{name}: restarted or stopped, though nothing changed: {', '.join(moved)}"
                raise HarnessError(msg)

    def _recorded(self) -> dict[str, str]:
        """The system that the state records for each host."""
        quiet = replace(self.workspace, recorder=None)
        state = json.loads(quiet.check("stack", "export").text)
        return recorded(state["deployment"]["resources"])

    def _load(self) -> AbstractContextManager[Load | None]:
        """Clients that keep asking the Docker service, if there is one."""
        return Load(docker.PORT) if self.docker else nullcontext()

    def _started(self) -> Started:
        return {name: host.started() for name, host in self.hosts.items()}


def _expect(seen: object, wanted: object, what: str) -> None:
    if seen != wanted:
        msg = f"{what} {seen!r} instead of {wanted!r}"
        raise HarnessError(msg)


def _load_detail(load: Load | None) -> str:
    """What to say of the requests to the Docker service meanwhile.

    Raises:
        HarnessError: some of them failed.
    """
    if load is None:
        return ""
    if load.lost:
        _, error = load.lost[0]
        msg = f"{len(load.lost)} requests to the Docker service failed, the first: {error}"
        raise HarnessError(msg)
    return f"; the Docker service answered all of {len(load.answers)} requests meanwhile"


def _named(result: CommandResult) -> tuple[dict[str, str], dict[str, str]]:
    """The old and the new system of each host in a preview's output."""
    found = _CHANGE.findall(plain(result.text))
    return {name: old for name, old, _ in found}, {name: new for name, _, new in found}


def _resources(result: CommandResult) -> list[str]:
    """The lines under `Resources:` at the end of the output."""
    _, _, rest = plain(result.text).rpartition("Resources:\n")
    block, _, _ = rest.partition("\n\n")
    lines = (line.strip() for line in block.splitlines())
    return [line for line in lines if re.match(r"[+~-]* ?\d", line)]


def _summary(result: CommandResult) -> str:
    return ", ".join(_resources(result)) or "no summary"


def _unchanged(result: CommandResult) -> str:
    """The expected summary if nothing changed."""
    found = re.fullmatch(r"\d+ unchanged", _summary(result))
    return found[0] if found else "… unchanged"
