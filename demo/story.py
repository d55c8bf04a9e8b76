"""The demo's steps: a release, a preview, an update, and the way back, each of them checked."""

import json
import re
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

from demo.terminal import Terminal, plain
from harness import docker, hosts
from harness.command_result import CommandResult
from harness.docker import Asking, Docker
from harness.hosts import PORT, ContainerHost
from harness.incus import HarnessError, Incus
from harness.state import recorded
from harness.workspace import Workspace

PREFIX: Final = "flakeup-demo"
OWNER: Final = "flakeup/dev"
"""The demo's stack, as its instances are marked."""
USERS: Final = {"web1": "root", "web2": "deploy"}
"""Who logs in on which host: root, and a user with passwordless sudo."""
STEADY: Final = "steady.service"
"""A unit that is the same in every release of the app."""
WORKER: Final = "app-worker.service"
"""A unit that is another one in every release."""
_CHANGE: Final = re.compile(r"^ *(\S+): (/nix/store/\S+) → (/nix/store/\S+)$", re.MULTILINE)
_UP: Final = ("up", "--yes", "--skip-preview")

Started = dict[str, dict[str, int]]
"""Host → unit → when it was started."""


@dataclass(slots=True, kw_only=True)
class Story:
    """One run of the demo; `tell` goes through all of it."""

    terminal: Terminal
    workspace: Workspace
    fresh: bool
    """Whether to begin with new hosts: what is there is in no known state."""
    hosts: dict[str, ContainerHost] = field(default_factory=dict)
    docker: Docker | None = None

    def tell(self) -> None:
        """Run the steps.

        Raises:
            HarnessError: one of them went wrong; the last step says how.
        """
        self._make_stack()
        self._make_hosts("v1")
        self._ask("v1")
        named = self._preview("v2")
        self._update("v2", named)
        self._ask("v2")
        self._update_again()
        self._break("v3", stays="v2")
        self._ask("v2")
        self._recover("v2")
        self._release("back to v1: the same command, the old release", "v1")
        self._ask("v1")

    # --- steps -----------------------------------------------------------------------------

    def _make_stack(self) -> None:
        with self.terminal.step("a project and a stack: a flake, an app, a config") as step:
            incus = Incus.ready()
            self._find_docker()
            if self.fresh and (gone := self._sweep(incus)):
                self.terminal.say(
                    f"  removed first, as a run did not come to its end: {', '.join(gone)}"
                )
            self.workspace.prepare(incus.root, self.docker.layer if self.docker else None)
            new = self.workspace.configure(services=self.docker is not None)
            step.detail = f"{self.workspace.config} {'written' if new else 'is as it should be'}"
            step.detail += ", the ssh key a secret in it"

    def _find_docker(self) -> None:
        """The container of Docker is shown where there is Docker."""
        try:
            self.docker = Docker.ready()
        except HarnessError as error:
            self.terminal.say(f"  without the container of Docker: {error}", "yellow")

    def _sweep(self, incus: Incus) -> list[str]:
        gone = hosts.remove(PREFIX, incus=incus, owner=OWNER)
        return gone + (self.docker.remove(OWNER) if self.docker else [])

    def _make_hosts(self, ref: str) -> None:
        with self.terminal.step(f"`pulumi up`: two containers are made, and get {ref}") as step:
            self._type("config", "set", "appRef", ref)
            result = self._type(*_UP)
            self.hosts = hosts.made(PREFIX, tuple(USERS), incus=Incus.ready())
            where = (f"{host.name} at {host.address}" for host in self.hosts.values())
            step.detail = f"{_summary(result)}; {', '.join(where)}"

    def _release(self, name: str, ref: str) -> None:
        with self.terminal.step(name) as step:
            self._type("config", "set", "appRef", ref)
            result = self._type(*_UP)
            step.detail = f"`pulumi up`: {_summary(result)}"

    def _ask(self, version: str) -> None:
        with self.terminal.step(f"the app says {version}") as step:
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
                answers.append(docker.ask())
                self.terminal.output(answers[-1])
                self.terminal.ended(time.monotonic() - began)
                _expect(answers[-1], f"app {version} on docker", "the container answers")
            step.detail = ", ".join(answers)

    def _preview(self, ref: str) -> dict[str, str]:
        """Show what the release would change; gives the system that it names for each host."""
        with self.terminal.step(f"what would {ref} change? nothing is built or sent yet") as step:
            before = self._systems()
            self._type("config", "set", "appRef", ref)
            result = self._type("preview", "--diff")
            old, new = _named(result)
            _expect(old, before, "the preview names as running")
            _expect(self._systems(), before, "after the preview the hosts run")
            step.detail = (
                f"`pulumi preview`: {_summary(result)}; old and new system of each host named"
            )
            return new

    def _update(self, ref: str, named: dict[str, str]) -> None:
        with self.terminal.step(f"update to {ref}: built once, copied, activated") as step:
            before = self._started()
            with self._asking() as asking:
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
            step.detail = f"{_summary(result)}; the hosts run what the preview named; {WORKER} was"
            step.detail += f" restarted, {STEADY} was not"
            step.detail += _lost_none(asking)

    def _update_again(self) -> None:
        with self.terminal.step("a second `up` changes nothing") as step:
            before = self._started()
            result = self._type(*_UP)
            if (summary := _summary(result)) != _unchanged(result):
                msg = f"the second `up` changed something: {summary}"
                raise HarnessError(msg)
            self._expect_no_restart(before)
            count = sum(map(len, before.values()))
            step.detail = f"{summary}; none of {count} active units was restarted"

    def _break(self, ref: str, *, stays: str) -> None:
        """A release that does not work: the canary goes back by itself, the rest is left alone."""
        with self.terminal.step(f"{ref} does not work: the hosts stay on {stays}") as step:
            before = self._systems()
            self._type("config", "set", "appRef", ref)
            with self._asking() as asking:
                result = self._type(*_UP, fails=True)
            if not result.code:
                msg = f"`pulumi up` to {ref} ended well, though the release does not work"
                raise HarnessError(msg)
            _expect(self._systems(), before, "after the failed `up` the hosts run")
            _expect(self._recorded(), before, "after the failed `up` the state has")
            for name, host in self.hosts.items():
                state = host.exec("systemctl", "is-active", WORKER).strip()
                _expect(state, "active", f"{WORKER} on {name} is")
            step.detail = f"red, as it should be; hosts and state are on {stays} by themselves"
            step.detail += _lost_none(asking)

    def _recover(self, ref: str) -> None:
        with self.terminal.step(f"appRef {ref} again: the hosts are left alone") as step:
            self._type("config", "set", "appRef", ref)
            before = self._started()
            result = self._type(*_UP)
            self._expect_no_restart(before)
            step.detail = f"{_summary(result)}; no unit was restarted"

    # --- what they are made of -------------------------------------------------------------

    def _type(self, *words: str, fails: bool = False) -> CommandResult:
        """Run a `pulumi` command as a person would, and show it; one that `fails` may do so."""
        result = self.workspace.pulumi(*words, colour=self.terminal.colour)
        if result.code and not fails:
            last = [line.strip() for line in plain(result.text).splitlines() if "error:" in line]
            why = last[-1] if last else "see its output above"
            msg = f"`pulumi {words[0]}` ended with status {result.code}: {why}"
            raise HarnessError(msg)
        return result

    def _systems(self) -> dict[str, str]:
        """What each host runs, as it says itself."""
        readlink = ("readlink", "-f", "/run/current-system")
        return {name: host.exec(*readlink).strip() for name, host in self.hosts.items()}

    def _expect_no_restart(self, before: Started) -> None:
        after = self._started()
        for name, units in before.items():
            if moved := sorted(unit for unit in units if after[name].get(unit) != units[unit]):
                msg = f"{name}: restarted or gone, though nothing changed: {', '.join(moved)}"
                raise HarnessError(msg)

    def _recorded(self) -> dict[str, str]:
        """What the state says that each host was deployed as."""
        quiet = replace(self.workspace, audience=None)
        state = json.loads(quiet.check("stack", "export").text)
        return recorded(state["deployment"]["resources"])

    def _asking(self) -> AbstractContextManager[Asking | None]:
        """Somebody who asks the container all the time, where there is one."""
        return Asking() if self.docker else nullcontext()

    def _started(self) -> Started:
        return {name: host.started() for name, host in self.hosts.items()}


def _expect(seen: object, wanted: object, what: str) -> None:
    if seen != wanted:
        msg = f"{what} {seen!r} instead of {wanted!r}"
        raise HarnessError(msg)


def _lost_none(asking: Asking | None) -> str:
    """What to say of who kept asking the container."""
    if asking is None:
        return ""
    if asking.lost:
        msg = f"{len(asking.lost)} of the container's requests were lost, first: {asking.lost[0]}"
        raise HarnessError(msg)
    return f"; {asking.answered} requests to the container meanwhile, all of them answered"


def _named(result: CommandResult) -> tuple[dict[str, str], dict[str, str]]:
    """The old and the new system of each host, as a preview says them."""
    found = _CHANGE.findall(plain(result.text))
    return {name: old for name, old, _ in found}, {name: new for name, _, new in found}


def _resources(result: CommandResult) -> list[str]:
    """The lines under `Resources:`, at the end of what the engine says."""
    _, _, rest = plain(result.text).rpartition("Resources:\n")
    block, _, _ = rest.partition("\n\n")
    lines = (line.strip() for line in block.splitlines())
    return [line for line in lines if re.match(r"[+~-]* ?\d", line)]


def _summary(result: CommandResult) -> str:
    return ", ".join(_resources(result)) or "no summary"


def _unchanged(result: CommandResult) -> str:
    """How the summary reads when nothing changed."""
    found = re.fullmatch(r"\d+ unchanged", _summary(result))
    return found[0] if found else "… unchanged"
