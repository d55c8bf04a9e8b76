"""The demo's app repository and flake, built by the real nix in their own store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = Path(__file__).parents[3] / "demo"
REQUEST = "GET / HTTP/1.1\r\nHost: web1\r\n\r\n"

pytestmark = pytest.mark.contract
needs_nix = pytest.mark.skipif(
    shutil.which("nix") is None,
    reason="nix is not on PATH; tools/bootstrap installs it",
)


class Flake(NamedTuple):
    """A rendered flake, and the environment that gives nix its own store."""

    folder: Path
    env: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run("nix", *command, env=self.env, cwd=self.folder)

    def build(self, *hosts: str) -> dict[str, Path]:
        wanted = [f"path:.#nixosConfigurations.{h}.config.system.build.toplevel" for h in hosts]
        done = self.run("build", "--no-link", "--json", "--no-update-lock-file", *wanted)
        assert done.returncode == 0, done.stderr
        built = (Path(drv["outputs"]["out"]) for drv in json.loads(done.stdout))
        return {path.name.split("-")[3]: path for path in built}


def run(
    *command: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=env,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def git(repository: Path, *command: str) -> str:
    done = run("git", "-C", str(repository), *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("app") / "app"
    done = run(str(DEMO / "app-repo"), str(repository))
    assert done.returncode == 0, done.stderr
    return repository


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    root = tmp_path_factory.mktemp("nix")
    folders = {
        "NIX_STORE_DIR": "store",
        "NIX_STATE_DIR": "state",
        "NIX_LOG_DIR": "log",
        "XDG_CACHE_HOME": "cache",
        "HOME": "home",
    }
    inherited = {k: v for k, v in os.environ.items() if k not in ("NIX_REMOTE", "NIX_PATH")}
    yield (
        inherited
        | {name: str(root / folder) for name, folder in folders.items()}
        | {
            "NIX_CONFIG": "experimental-features = nix-command flakes\n"
            "substituters =\nflake-registry =\n"
            # Build users are shared by all stores of a machine: taking one ends its processes.
            "build-users-group =\n"
        }
    )
    for folder, _, _ in os.walk(root):  # a store is read-only, which would stop its removal
        Path(folder).chmod(0o755)


def render(folder: Path, app: Path, env: dict[str, str], tag: str = "v1") -> Flake:
    done = run(str(DEMO / "render-flake"), str(folder), f"git+file://{app}", tag, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Flake(folder, env)


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory, app: Path, env: dict[str, str]) -> Flake:
    return render(tmp_path_factory.mktemp("v1"), app, env)


@pytest.fixture(scope="module")
def v2(tmp_path_factory: pytest.TempPathFactory, app: Path, env: dict[str, str]) -> Flake:
    return render(tmp_path_factory.mktemp("v2"), app, env, "v2")


@pytest.fixture(scope="module")
def old(v1: Flake) -> dict[str, Path]:
    return v1.build("web1", "web2")


@pytest.fixture(scope="module")
def new(v2: Flake) -> dict[str, Path]:
    return v2.build("web1")


def unit(toplevel: Path, name: str) -> str:
    return (toplevel / "etc/systemd/system" / name).read_text()


def test_app_repository_has_the_same_commits_everywhere(app: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    config = tmp_path / "gitconfig"
    config.write_text(
        "[user]\nname = Somebody\n[commit]\ngpgSign = true\n[core]\nautocrlf = true\n"
    )
    env = {**os.environ, "GIT_CONFIG_GLOBAL": str(config), "TZ": "Asia/Tokyo", "GIT_DIR": "/none"}
    done = run("sh", "-c", 'umask 077; exec "$0" "$1"', str(DEMO / "app-repo"), str(other), env=env)
    assert done.returncode == 0, done.stderr
    assert git(other, "show-ref", "-d") == git(app, "show-ref", "-d")
    assert git(app, "cat-file", "-t", "v1") == "tag"
    assert git(app, "cat-file", "-t", "v2") == "commit"


def test_app_repository_made_twice_is_the_same(app: Path) -> None:
    before = git(app, "show-ref", "-d")
    assert run(str(DEMO / "app-repo"), str(app)).returncode == 0
    assert git(app, "show-ref", "-d") == before
    assert git(app, "status", "--short") == ""


@pytest.mark.parametrize("content", ["file", "repository without commits"])
def test_app_repository_does_not_overwrite_other_folders(tmp_path: Path, content: str) -> None:
    if content == "file":
        (tmp_path / "file").touch()
    else:
        git(tmp_path, "init", "--quiet")
    before = sorted(tmp_path.rglob("*"))
    done = run(str(DEMO / "app-repo"), str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"app-repo: {tmp_path} was not created by this script; use a new or empty folder\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_app_answers_its_version() -> None:
    done = run("sh", str(DEMO / "app/serve.sh"), "web1", stdin=REQUEST)
    head, _, body = done.stdout.partition("\n\n")  # text mode has made \n of \r\n
    assert body == "app v1 on web1\n"
    assert head.splitlines()[0] == "HTTP/1.1 200 OK"
    assert f"Content-Length: {len(body)}" in head.splitlines()


def test_app_v3_is_broken(app: Path, tmp_path: Path) -> None:
    git(app, "worktree", "add", "--quiet", "--detach", str(tmp_path / "v3"), "v3")
    try:
        worker = run("sh", str(tmp_path / "v3/worker.sh"))
        serve = run("sh", str(tmp_path / "v3/serve.sh"), "web1", stdin=REQUEST)
    finally:
        git(app, "worktree", "remove", "--force", str(tmp_path / "v3"))
    assert (worker.returncode != 0, serve.returncode != 0, serve.stdout) == (True, True, "")


@pytest.mark.parametrize("url", ["/srv/app", "git+file:///srv/app?ref=main", "git+file:///a b"])
def test_render_flake_refuses_other_urls(tmp_path: Path, url: str) -> None:
    done = run(str(DEMO / "render-flake"), str(tmp_path / "flake"), url)
    assert done.returncode == 64
    assert done.stderr.startswith(
        f"render-flake: '{url}' is not a URL for the app; write git+file:"
    )
    assert not (tmp_path / "flake").exists()


@needs_nix
def test_flake_is_locked_at_the_tags_commit(v1: Flake, app: Path) -> None:
    lock = json.loads((v1.folder / "flake.lock").read_text())
    node = lock["nodes"]["app"]
    assert node["locked"]["rev"] == git(app, "rev-parse", "v1^{commit}")
    assert node["original"] == {"type": "git", "url": f"file://{app}"}


@needs_nix
def test_toplevel_has_the_layout_of_nixos(old: dict[str, Path]) -> None:
    web1 = old["web1"]
    assert web1.name.endswith("-nixos-system-web1-25.11.demo")
    assert (web1 / "nixos-version").read_text() == "25.11.demo"
    assert (web1 / "system").read_text() == "x86_64-linux"
    assert (web1 / "init-interface-version").read_text() == "systemd 2"
    assert (web1 / "kernel-params").read_text() == "loglevel=4"
    assert (web1 / "kernel").readlink().match("*-linux-6.12.58/bzImage")
    assert (web1 / "initrd").readlink().match("*-initrd-linux-6.12.58/initrd")
    assert (web1 / "kernel-modules").readlink().match("*-linux-6.12.58-modules")
    assert (web1 / "sw").readlink().match("*-system-path")
    assert {path.name for path in (web1 / "sw/bin").iterdir()} == {
        "app-serve",
        "app-worker",
        "motd",
    }
    for script in ("init", "activate", "dry-activate", "bin/switch-to-configuration"):
        assert os.access(web1 / script, os.X_OK), script
    links = web1 / "etc/systemd/system"
    assert (links / "app@.service").readlink().match("*-unit-app-.service/app@.service")
    assert (links / "multi-user.target.wants/steady.service").resolve().is_file()


@needs_nix
def test_no_link_is_dangling(old: dict[str, Path]) -> None:
    """sshd is the only unit from the container's base system."""
    dangling = [
        path.name for path in (old["web1"] / "etc").resolve().rglob("*")
        if path.is_symlink() and not path.exists()
    ]  # fmt: skip
    units = (old["web1"] / "etc/systemd/system").resolve()
    dangling += [p.name for p in units.rglob("*") if p.is_symlink() and not p.exists()]
    assert set(dangling) <= {"ssh.service"}


@needs_nix
def test_hosts_differ_only_by_name(old: dict[str, Path]) -> None:
    assert old["web1"] != old["web2"]
    assert unit(old["web1"], "app@.service") == unit(old["web2"], "app@.service").replace(
        "serve.sh web2", "serve.sh web1"
    )
    for name in ("app.socket", "app-worker.service", "steady.service"):
        units = "etc/systemd/system"
        assert (old["web1"] / units / name).resolve() == (old["web2"] / units / name).resolve()


@needs_nix
def test_a_release_changes_the_apps_units_and_no_other(
    old: dict[str, Path], new: dict[str, Path]
) -> None:
    names = ("app.socket", "app@.service", "app-worker.service", "steady.service")
    changed = [name for name in names if unit(old["web1"], name) != unit(new["web1"], name)]
    assert changed == ["app@.service", "app-worker.service"]


@needs_nix
def test_equal_input_gives_the_same_path(v1: Flake, app: Path, tmp_path: Path) -> None:
    again = render(tmp_path / "elsewhere", app, v1.env)
    assert again.build("web1") == v1.build("web1")
    done = again.run(
        "build", "--no-link", "--rebuild",
        "path:.#nixosConfigurations.web1.config.system.build.toplevel",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@needs_nix
def test_versions_can_be_read_from_the_derivations(v1: Flake, v2: Flake) -> None:
    def versions(flake: Flake) -> dict[str, str]:
        done = flake.run(
            "derivation", "show", "--recursive",
            "path:.#nixosConfigurations.web1.config.system.build.toplevel",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        envs = (drv["env"] for drv in json.loads(done.stdout).values())
        return {env["pname"]: env["version"] for env in envs if "pname" in env}

    assert versions(v1) == {"app": "1", "motd": "1.0", "linux": "6.12.58"}
    assert versions(v2) == versions(v1) | {"app": "2"}


@needs_nix
def test_options_of_a_host(v1: Flake, app: Path, tmp_path: Path) -> None:
    flake = render(tmp_path / "options", app, v1.env)
    drop_in = "[Service]\nEnvironment=A='b c' D=\"e\"\n"
    faults = {"boot-fails": "", "unit-fails-late": "5", "sshd-stopped": ""}
    hosts = {
        "web1": {"extraText": "it's 'quoted' $HOME\n", "activationSeconds": 3},
        "web2": {
            "units": {"ssh.service.d/port.conf": drop_in, "extra.service": "[Service]\n"},
            "payloadPaths": 2,
            "payloadMegabytes": 1,
        },
        "web3": {"faults": faults},
        "web4": {"kernel": "6.12.60", "initInterface": "systemd 3"},
        "web5": {"faults": {"app-answers": "0"}, "payloadPaths": 1, "payloadSeed": "another"},
    }
    (flake.folder / "hosts.json").write_text(json.dumps(hosts))
    built = flake.build(*hosts)
    assert (built["web1"] / "etc/extra-text").read_text() == "it's 'quoted' $HOME\n"
    assert "ACTIVATION_SECONDS=3" in (built["web1"] / "activate").read_text()
    assert unit(built["web2"], "ssh.service.d/port.conf") == drop_in
    assert (built["web2"] / "etc/systemd/system/multi-user.target.wants/extra.service").exists()
    payload = [Path(path) for path in (built["web2"] / "extra-dependencies").read_text().split()]
    assert [(path / "data").stat().st_size for path in payload] == [1 << 20, 1 << 20]
    other = Path((built["web5"] / "extra-dependencies").read_text())
    assert (other / "data").read_text().startswith("web5another 0\n")
    assert {path.name for path in (built["web3"] / "faults").iterdir()} == set(faults)
    assert "sleep 5" in unit(built["web3"], "breaks-later.service")
    wants = built["web3"] / "etc/systemd/system/multi-user.target.wants"
    assert not (wants / "ssh.service").is_symlink()
    serve = unit(built["web5"], "app@.service").split("ExecStart=/bin/sh ")[1].split()[0]
    assert run("sh", serve, "web5", stdin=REQUEST).stdout.endswith("app v0 on web5\n")
    assert (built["web4"] / "kernel").read_text() == "kernel 6.12.60\n"
    assert (built["web4"] / "init-interface-version").read_text() == "systemd 3"


@needs_nix
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activationSecond": 1}, "hosts.json: web1.activationSecond: no such option"),
        ({"units": {"a b.service": ""}}, 'hosts.json: web1.units: "a b.service" is no unit name'),
        ({"faults": {"boot-fail": ""}}, "hosts.json: web1.faults.boot-fail: no such fault"),
        ({"faults": {"eval-fails": ""}}, "this host does not evaluate (fault eval-fails)"),
        ({"faults": {"build-fails": ""}}, "cannot build this host (fault build-fails)"),
    ],
)
def test_a_bad_host_fails_with_its_reason_and_alone(
    v1: Flake, app: Path, tmp_path: Path, options: object, message: str
) -> None:
    flake = render(tmp_path / "bad", app, v1.env)
    (flake.folder / "hosts.json").write_text(json.dumps({"web1": options, "web2": {}}))
    attribute = "path:.#nixosConfigurations.web1.config.system.build.toplevel"
    done = flake.run("build", "--no-link", attribute)
    assert done.returncode != 0
    assert message in done.stderr
    assert set(flake.build("web2")) == {"web2"}


def test_shell_scripts_are_clean() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not on PATH; requirements-dev.txt has it")
    scripts = [
        *sorted((DEMO / "flake/scripts").glob("*.sh")),
        *sorted((DEMO / "app").glob("*.sh")),
        DEMO / "app-repo",
        DEMO / "render-flake",
    ]
    done = run(shellcheck, "--external-sources", "--", *map(str, scripts))
    assert (done.returncode, done.stdout) == (0, "")
