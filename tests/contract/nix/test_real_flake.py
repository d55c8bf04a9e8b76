"""The flake that users fork: what can be shown without nixpkgs, and its hosts if there is nixpkgs.

`FLAKEUP_NIXPKGS` names a folder with the sources of nixpkgs; without it no host is evaluated.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.pipeline.activation import runner
from components.pipeline.config.stack import parse
from components.pipeline.errors import ConfigError
from tests.unit.config.config_cases import VALID

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[3]
FLAKE = PROJECT / "flake"
DATA = PROJECT / "tests/data/real-flake"
NIX_FILES = sorted(FLAKE.rglob("*.nix"))
NIXPKGS = os.environ.get("FLAKEUP_NIXPKGS", "")
HOSTS = (
    "web",
    "worker",
    "sidekiq",
    "staging-web",
    "staging-worker",
    "staging-sidekiq",
    "incus-base",
    "incus-base-aarch64",
)
pytestmark = pytest.mark.contract
needs_nix = pytest.mark.skipif(
    shutil.which("nix") is None, reason="nix is not on PATH; tools/bootstrap installs it"
)
needs_nixpkgs = pytest.mark.skipif(
    not NIXPKGS, reason="FLAKEUP_NIXPKGS does not name a source of nixpkgs"
)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in which nix has a store of its own."""
    root = tmp_path_factory.mktemp("nix")
    own = {
        "NIX_STORE_DIR": "store",
        "NIX_STATE_DIR": "state",
        "NIX_LOG_DIR": "log",
        "XDG_CACHE_HOME": "cache",
        "HOME": "home",
    }
    inherited = {k: v for k, v in os.environ.items() if k not in ("NIX_REMOTE", "NIX_PATH")}
    config = "experimental-features = nix-command flakes\nsubstituters =\nflake-registry =\n"
    yield (
        inherited
        | {name: str(root / folder) for name, folder in own.items()}
        | {"NIX_CONFIG": f"{config}build-users-group =\n"}
    )
    for folder, _, _ in os.walk(root):  # a store is read-only, which would stop its removal
        Path(folder).chmod(0o755)


def run(*command: str, env: dict[str, str], timeout: int = 250) -> str:
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluate(expression: str, env: dict[str, str]) -> Any:
    return json.loads(run("nix", "eval", "--impure", "--json", "--expr", expression, env=env))


# --- without nixpkgs ----------------------------------------------------------------------------


@needs_nix
def test_every_file_is_nix(env: dict[str, str]) -> None:
    run("nix-instantiate", "--parse", *map(str, NIX_FILES), env=env)


@needs_nix
def test_every_option_is_documented(env: dict[str, str]) -> None:
    declared = evaluate(f"import {DATA}/options.nix {{ modules = {FLAKE}/modules; }}", env)
    names = [option["name"] for option in declared]
    assert {
        "flakeup.deploy.authorizedKeys",
        "flakeup.activation.<name>.checks.<name>.http",
        "flakeup.app.processes.<name>.port",
        "flakeup.bootGuard.limit",
    } <= set(names)
    assert len(names) == len(set(names))
    incomplete = [
        option["name"]
        for option in declared
        if not (option["description"].strip() and option["type"])
        or not (option["default"] and option["example"])
    ]
    assert incomplete == []


@needs_nix
def test_the_guards_tests_run_the_script_that_is_sent(env: dict[str, str]) -> None:
    assert evaluate(f"import {FLAKE}/checks/runner.nix", env) == runner.text().decode()


@needs_nix
@pytest.mark.parametrize("pulumi", ["3.221.0", "3.259.0", "3.300.1"])
def test_shell_has_what_the_program_runs(env: dict[str, str], pulumi: str) -> None:
    shells = evaluate(
        f'import {DATA}/shell.nix {{ flake = {FLAKE}; pulumi = "{pulumi}"; }}',
        env,
    )
    assert set(shells) == {"x86_64-linux", "aarch64-linux"}
    shell = shells["x86_64-linux"]["default"]
    packages = {package["name"]: package for package in shell["packages"]}
    assert set(packages) == {"git", "nix", "openssh", "pulumi", "python3"}
    assert ("warning" in packages["pulumi"]) is (pulumi == "3.221.0")
    assert shell["env"] == {
        "LD_LIBRARY_PATH": ["gcc/lib"],
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
    }


def test_wheels_need_no_other_library_than_the_shell_has() -> None:
    """NixOS's loader finds glibc, and what `LD_LIBRARY_PATH` names: here gcc's own libraries."""
    ldd = shutil.which("ldd")
    if ldd is None:
        pytest.skip("ldd is not on PATH; it comes with glibc")
    wheels = Path(sysconfig.get_path("platlib"))
    modules = sorted(wheels.rglob("*.so"))
    listed = run(ldd, *map(str, modules), env=dict(os.environ))
    needed = {
        line.split()[0].rpartition("/")[2].partition(".so")[0]
        for line in listed.splitlines()
        if ".so" in line and line.startswith("\t")
    }
    glibc = {"libc", "libdl", "libm", "libpthread", "librt", "linux-vdso"}
    loader = {name for name in needed if name.startswith("ld-linux")}
    assert needed - glibc - loader == {"libstdc++", "libgcc_s"}


def activations() -> Iterator[dict[str, Any]]:
    """Values of `activation` that each differ in one point."""
    cases = json.loads((DATA / "activations.json").read_text())
    yield from cases["activations"]
    for key, values in cases["checks"].items():
        for value in values:
            kind = {} if key in ("http", "tcp", "unit", "command") else {"http": "http://[::1]/"}
            yield {"checks": {"web": kind | {key: value}}}
    yield from ({"checks": {name: {"unit": "a.service"}}} for name in cases["names"])


def is_refused(activation: dict[str, Any]) -> bool:
    try:
        parse(VALID | {"activation": activation})
    except ConfigError:
        return True
    return False


@needs_nix
def test_a_host_refuses_the_checks_that_the_program_refuses(
    env: dict[str, str], tmp_path: Path
) -> None:
    tried = list(activations())
    (tmp_path / "tried.json").write_text(json.dumps(tried))
    problems = evaluate(
        f"map (import {FLAKE}/modules/grammar).problems"
        f" (builtins.fromJSON (builtins.readFile {tmp_path}/tried.json))",
        env,
    )
    verdicts = [(case, bool(found)) for case, found in zip(tried, problems, strict=True)]
    assert [(case, not refused) for case, refused in verdicts if refused != is_refused(case)] == []
    refused = sum(refused for _, refused in verdicts)
    assert 40 < refused < len(tried) - 40


def test_scripts_are_clean() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not on PATH; requirements-dev.txt has it")
    scripts = [*sorted(FLAKE.rglob("*.sh")), *sorted((DATA / "bin").iterdir())]
    run(shellcheck, "--shell=sh", "--", *map(str, scripts), env=dict(os.environ))


# --- the boot guard, on a host made of files ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Host:
    """A host's files below `root`, and a log of the calls of its systemd and boot loader."""

    root: Path

    @property
    def attempt(self) -> Path:
        return self.root / "nix/var/flakeup/attempts/a1"

    def put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def link(self, path: str, target: Path | str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(target)

    def system(self, name: str) -> Path:
        self.put(
            f"{name}/bin/switch-to-configuration",
            f'#!/bin/sh\necho "{name} $1" >>"$LOG"\n[ ! -e "{self.root}/boot-is-full" ]',
        )
        (self.root / name / "bin/switch-to-configuration").chmod(0o755)
        return self.root / name

    def boots(self, name: str, boot: str) -> None:
        self.link("run/booted-system", self.root / name)
        self.put("proc/sys/kernel/random/boot_id", boot)

    def guard(self, *words: str, **settings: str) -> int:
        paths = f"{DATA / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ("sh", str(FLAKE / "modules/boot-guard.sh"), *words),
            env={"PATH": paths, "LOG": str(self.root / "log")}
            | {"FLAKEUP_GUARD_ROOT": str(self.root), **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode

    def calls(self) -> list[str]:
        log = self.root / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [re.sub(r"(systemd-run).*( \w+ \w+)$", r"\1\2", line) for line in lines]

    def says(self, name: str) -> str:
        file = self.attempt / name
        return file.read_text().strip() if file.exists() else ""

    @property
    def default(self) -> str:
        return (self.root / "nix/var/nix/profiles/system").resolve().name

    @property
    def verdict(self) -> tuple[str, str, str]:
        return self.says("guard"), self.says("state"), self.default


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host that has a release staged for its next boot, and was not rebooted yet."""
    host = Host(tmp_path)
    old, new = host.system("old"), host.system("new")
    host.link("nix/var/nix/profiles/system-7-link", old)
    host.link("nix/var/nix/profiles/system-8-link", new)
    host.link("nix/var/nix/profiles/system", "system-8-link")
    host.link("nix/var/flakeup/current", "attempts/a1")
    texts = {"spec": "mode boot\nend", "state": "committed", "boot-id": "one"}
    for name, text in {**texts, "old": f"{old}", "new": f"{new}"}.items():
        host.put(f"nix/var/flakeup/attempts/a1/{name}", text)
    host.boots("old", "one")
    return host


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("nix/var/flakeup/attempts/a1/spec", "mode switch\nend"),
        ("nix/var/flakeup/attempts/a1/state", "rolled-back"),
        ("nix/var/flakeup/attempts/a1/boot-id", "two"),
        ("nix/var/flakeup/attempts/a1/guard", "confirmed"),
    ],
)
def test_guard_does_nothing_where_nothing_is_staged(host: Host, file: str, text: str) -> None:
    host.put(file, text)
    host.boots("new", "two")
    assert (host.guard("boot"), host.guard("confirm"), host.calls()) == (0, 0, [])
    assert (host.says("state") in ("committed", "rolled-back"), host.default) == (True, "new")


def test_guard_does_nothing_on_a_host_that_never_had_an_attempt(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.put("proc/sys/kernel/random/boot_id", "one")
    assert (host.guard("boot"), host.guard("confirm"), host.calls()) == (0, 0, [])


def test_guard_rolls_back_what_nobody_confirms_and_reboots_once(host: Host) -> None:
    host.boots("new", "two")
    assert (host.guard("boot"), host.calls()) == (0, ["systemd-run revert a1"])
    assert host.guard("revert", "a1") == 0
    assert host.calls() == ["nix-env --switch-generation 7", "old boot", "systemctl reboot"]
    assert host.verdict == ("rolling-back", "rolling-back", "old")
    host.boots("old", "three")
    assert (host.guard("boot"), host.calls()) == (0, [])
    assert host.verdict == ("rolled-back", "rolled-back", "old")
    assert (host.says("exit"), host.says("reason")) == (
        "22",
        "its first boot was not confirmed in time",
    )


def test_guard_does_not_reboot_if_the_boot_loader_cannot_be_restored(host: Host) -> None:
    host.boots("new", "two")
    host.guard("boot")
    host.put("boot-is-full", "")
    assert host.guard("revert", "a1") == 1
    assert "systemctl reboot" not in host.calls()
    assert host.verdict[:2] == ("rollback-failed", "rollback-failed")
    assert (host.guard("revert", "a1"), host.guard("confirm"), host.calls()) == (0, 1, [])


def test_guard_does_not_reboot_twice(host: Host) -> None:
    host.boots("new", "two")
    host.guard("boot")
    host.guard("revert", "a1")
    host.boots("new", "three")  # the boot loader ignored the new default
    host.calls()
    assert (host.guard("boot"), host.calls()) == (1, [])
    assert host.verdict[:2] == ("rollback-failed", "rollback-failed")


def test_guard_rolls_back_what_went_down_before_it_was_confirmed(host: Host) -> None:
    host.boots("new", "two")
    host.guard("boot")
    host.boots("new", "three")
    host.calls()
    assert (host.guard("boot"), host.calls()[-1]) == (0, "systemctl reboot")
    assert host.verdict == ("rolling-back", "rolling-back", "old")


@pytest.mark.parametrize("by", ["confirm", "another deployment", "the host itself"])
def test_guard_keeps_what_was_confirmed(host: Host, by: str) -> None:
    host.boots("new", "two")
    host.guard("boot")
    if by == "another deployment":
        host.put("nix/var/flakeup/attempts/a2/state", "awaiting-confirm")
        host.link("nix/var/flakeup/current", "attempts/a2")
        assert host.guard("revert", "a1") == 0
    else:
        assert host.guard("confirm" if by == "confirm" else "watch") == 0
        assert host.guard("confirm") == 0
    host.link("nix/var/flakeup/current", "attempts/a1")
    assert (host.guard("revert", "a1"), host.verdict) == (0, ("confirmed", "committed", "new"))
    assert "systemctl stop flakeup-boot-revert.timer" in host.calls()
    host.boots("new", "three")
    assert (host.guard("boot"), host.calls()) == (0, [])


def test_guard_accepts_a_confirmation_before_it_has_started(host: Host) -> None:
    assert host.guard("confirm") == 0
    assert host.says("guard") == ""  # staged, but not running yet
    host.boots("new", "two")
    assert (host.guard("confirm"), host.guard("boot")) == (0, 0)
    assert (host.verdict, len(host.calls())) == (("confirmed", "committed", "new"), 1)


def test_guard_does_not_confirm_a_boot_with_a_failed_unit(host: Host) -> None:
    host.boots("new", "two")
    assert host.guard("boot", FLAKEUP_GUARD_CONFIRM="healthy") == 0
    assert len(host.calls()) == 2
    assert host.guard("watch", IS_RUNNING="degraded") == 1
    assert host.says("guard") == "armed"


@pytest.fixture
def esp(host: Host) -> dict[str, str]:
    """systemd-boot's files, as the runner's commit has written them for NEW."""
    for number, name in ((7, "old"), (8, "new")):
        host.put(
            f"esp/loader/entries/nixos-generation-{number}.conf",
            f"title NixOS\noptions init={host.root}/{name}/init loglevel=4",
        )
    host.put("esp/loader/loader.conf", "timeout 3\ndefault nixos-generation-8.conf\neditor 0")
    host.put("nix/var/flakeup/attempts/a1/state", "committing")
    return {"FLAKEUP_GUARD_BOOT": str(host.root / "esp")}


def test_guard_makes_systemd_boot_start_it_once(host: Host, esp: dict[str, str]) -> None:
    assert host.guard("installed", f"{host.root}/new", **esp) == 0
    assert host.calls() == [
        f"bootctl --esp-path={host.root}/esp set-oneshot nixos-generation-8.conf"
    ]
    config = (host.root / "esp/loader/loader.conf").read_text()
    assert config == "timeout 3\ndefault nixos-generation-7.conf\neditor 0\n"
    host.put("nix/var/flakeup/attempts/a1/state", "committed")
    host.boots("old", "two")  # NEW did not come up, and the boot loader fell back
    assert (host.guard("boot"), host.calls()) == (0, ["nix-env --switch-generation 7", "old boot"])
    assert host.verdict == ("rolled-back", "rolled-back", "old")


def test_guard_makes_it_the_default_when_it_is_confirmed(host: Host, esp: dict[str, str]) -> None:
    host.guard("installed", f"{host.root}/new", **esp)
    host.put("nix/var/flakeup/attempts/a1/state", "committed")
    host.boots("new", "two")
    assert host.guard("boot") == 0
    host.calls()
    assert host.guard("confirm") == 0
    assert "new boot" in host.calls()
    assert host.verdict == ("confirmed", "committed", "new")


@pytest.mark.parametrize("why", ["another system", "mode switch", "boots are counted", "no entry"])
def test_guard_leaves_the_boot_loader_alone(host: Host, esp: dict[str, str], why: str) -> None:
    wanted = host.root / ("old" if why == "another system" else "new")
    match why:
        case "mode switch":
            host.put("nix/var/flakeup/attempts/a1/spec", "mode switch\nend")
        case "boots are counted":
            host.put("esp/loader/loader.conf", "preferred nixos-1.conf\ndefault nixos-*")
        case "no entry":
            (host.root / "esp/loader/entries/nixos-generation-7.conf").unlink()
    before = (host.root / "esp/loader/loader.conf").read_text()
    assert (host.guard("installed", str(wanted), **esp), host.calls()) == (0, [])
    assert (host.root / "esp/loader/loader.conf").read_text() == before


# --- with nixpkgs -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Locked:
    """The flake, locked to the nixpkgs that the environment names."""

    lock: Path
    env: dict[str, str]

    def value(self, attribute: str) -> Any:
        return json.loads(
            run(
                "nix",
                "eval",
                "--json",
                "--no-write-lock-file",
                "--no-update-lock-file",
                "--reference-lock-file",
                str(self.lock),
                f"path:{FLAKE}#{attribute}",
                env=self.env,
            )
        )


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Locked:
    folder = tmp_path_factory.mktemp("real-flake")
    # Added once: a store path is locked and read without another copy.
    source = run("nix", "store", "add", "--name", "source", NIXPKGS, env=env).strip()
    lock = folder / "flake.lock"
    run(
        "nix",
        "flake",
        "lock",
        f"path:{FLAKE}",
        "--override-input",
        "nixpkgs",
        f"path:{source}",
        "--override-input",
        "app",
        f"path:{FLAKE}/checks/app",
        "--output-lock-file",
        str(lock),
        env=env,
    )
    return Locked(lock, env)


@needs_nix
@needs_nixpkgs
@pytest.mark.parametrize("name", HOSTS)
def test_host_evaluates(locked: Locked, name: str) -> None:
    config = f"nixosConfigurations.{name}.config"
    drv = locked.value(f"{config}.system.build.toplevel.drvPath")
    assert f"-nixos-system-{name}" in drv
    activation = locked.value(f"{config}.flakeup.activation")
    assert bool(activation["checks"]) is not name.startswith("incus-base")
    parse(VALID | {"activation": activation})


@needs_nix
@needs_nixpkgs
def test_every_host_is_evaluated(locked: Locked) -> None:
    done = run(
        "nix",
        "eval",
        "--json",
        "--reference-lock-file",
        str(locked.lock),
        "--no-write-lock-file",
        f"path:{FLAKE}#nixosConfigurations",
        "--apply",
        "builtins.attrNames",
        env=locked.env,
    )
    assert set(json.loads(done)) == set(HOSTS)


@needs_nix
@needs_nixpkgs
def test_images_evaluate(locked: Locked) -> None:
    tag = locked.value("packages.x86_64-linux.app-image.imageTag")
    assert re.fullmatch("[0-9a-z]{32}", tag)
    base = "nixosConfigurations.incus-base.config.system.build"
    assert locked.value(f"{base}.squashfs.drvPath").endswith("-nixos-lxc-image-x86_64-linux.drv")
    assert locked.value(f"{base}.metadata.drvPath").endswith("-tarball.drv")
    amazon = "nixosConfigurations.web.config.system.build.images.amazon"
    assert locked.value(f"{amazon}.passthru.filePath").endswith(".raw")
