"""From a release to store paths and their content, with the real nix."""

import re
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from components.pipeline.config.incus import IncusSpec
from components.pipeline.config.stack import HostSpec
from components.pipeline.deploy import closure
from components.pipeline.errors import BuildError, EvaluationError
from components.pipeline.evaluate import cache, evaluate, previous
from components.pipeline.evaluate.attribute import EvaluatedAttr, ServiceImage
from components.pipeline.release import nix, release
from components.pipeline.values import Attr, AttrPath
from harness.daemons.git_repositories import GitRepositories, commit, git, run, settings
from tests.unit.hosts import host, toplevel

pytest_plugins = ["harness.daemons.servers"]
pytestmark = pytest.mark.contract


@pytest.fixture
def root(repos: GitRepositories, tmp_path: Path) -> Path:
    """A program's folder with the demo's flake, whose systems are unique."""
    own = {"extraText": uuid.uuid4().hex}
    options = {
        "web1": own,
        "web2": own,
        "throws1": own | {"faults": {"eval-fails": ""}},
        "throws2": own | {"faults": {"eval-fails": ""}},
        "broken": own | {"faults": {"build-fails": ""}},
    }
    repos.render(tmp_path / "flake", options)
    return tmp_path


async def systems(
    root: Path, *hosts: HostSpec, app_ref: str | None = "v1"
) -> dict[str, EvaluatedAttr]:
    named = hosts or (host("web1", app_ref=app_ref),)
    releases = await release.resolve(settings("./flake", app_ref=app_ref, hosts=named), root)
    return await evaluate.evaluate_hosts(releases, named)


def builds(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if " build " in line]


def evaluations(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if " eval " in line]


async def test_evaluated_paths_are_the_built_ones(root: Path) -> None:
    hosts = (host("web1", app_ref="v1"), host("web2", app_ref="v1"))
    found = await systems(root, *hosts)
    assert set(found) == {"web1", "web2"}
    assert not any(nix.is_present(system.out_path) for system in found.values())
    await closure.realise(tuple(found.values()))
    for name, system in found.items():
        assert system.attr == name
        assert (Path(system.out_path.path) / "etc/hostname").read_text() == f"{name}\n"
        argv = (*nix.NIX, "build", "--no-link", "--print-out-paths", f"{system.drv_path.path}^out")
        assert run(*argv) == system.out_path.path


async def test_each_release_has_its_own_paths(root: Path) -> None:
    one = (await systems(root, app_ref="v1"))["web1"]
    two = (await systems(root, app_ref="v2"))["web1"]
    assert one.out_path != two.out_path
    assert one.drv_path != two.drv_path
    assert (await systems(root, app_ref="v1"))["web1"] == one
    await closure.realise((two,))
    assert "2" in (Path(two.out_path.path) / "sw/bin/app-serve").resolve().parents[1].name


async def test_hosts_with_their_own_refs(root: Path) -> None:
    alone = {ref: (await systems(root, app_ref=ref))["web1"] for ref in ("v1", "v2")}
    both = await systems(root, host("web1", app_ref="v2"), host("web2", app_ref="v1"))
    assert both["web1"] == alone["v2"]
    assert both["web2"].out_path != alone["v1"].out_path


async def test_two_hosts_of_one_attribute_are_evaluated_once(root: Path, nix_log: Path) -> None:
    twins = tuple(
        HostSpec(name=name, address=one.address, host_key=one.host_key, attr=one.attr)
        for one in (host("web1"),)
        for name in ("left", "right")
    )
    found = await systems(root, *twins, app_ref=None)
    assert found["left"] == found["right"]
    assert len(evaluations(nix_log)) == 1


# --- the cache ----------------------------------------------------------------------------


async def test_the_second_run_evaluates_nothing(root: Path, nix_log: Path) -> None:
    first = await systems(root)
    assert len(evaluations(nix_log)) == 1
    assert await systems(root) == first
    assert len(evaluations(nix_log)) == 1
    assert cache.load_output(first["web1"].out_path) == first["web1"]


async def test_a_collected_derivation_is_evaluated_again(root: Path, nix_log: Path) -> None:
    first = await systems(root)
    system = first["web1"]
    run(*nix.NIX, "store", "delete", system.drv_path.path)
    assert not nix.is_present(system.drv_path)
    assert cache.load_output(system.out_path) is None
    assert await systems(root) == first
    assert nix.is_present(system.drv_path)
    assert len(evaluations(nix_log)) == 2


async def test_a_changed_flake_is_evaluated_again(root: Path) -> None:
    first = (await systems(root))["web1"]
    (root / "flake/hosts.json").write_text('{"web1": {"extraText": "changed"}}')
    assert (await systems(root))["web1"].out_path != first.out_path


@pytest.mark.parametrize("content", ["", "{", "[]", '{"attr": "web1", "drv": "/etc", "out": 3}'])
async def test_a_corrupt_cache_is_not_an_error(root: Path, content: str) -> None:
    first = await systems(root)
    for memo in (nix.cache_folder() / "systems").iterdir():
        memo.write_text(content)
    assert await systems(root) == first


async def test_a_damaged_tree_of_the_previous_release_is_unpacked_again(root: Path) -> None:
    """Also where a run that was cut off has left a part of it."""
    git(root, "init", "--quiet")
    commit(root, "The program")
    wanted = settings("./flake", app_ref="v1")
    found = (await systems(root))["web1"]
    one = (await release.resolve(wanted, root))[None]
    record = one.record(wanted.flake)
    again = (record, wanted, root, "web1", found.out_path)
    assert await previous.evaluate_previous(*again) == found
    tree = nix.cache_folder() / "trees" / record["flakeTree"]
    (tree / "partial").mkdir()
    (tree / "source" / "flake.nix").write_text("")
    assert await previous.evaluate_previous(*again) == found
    assert (tree / "source" / "flake.nix").stat().st_size
    assert sorted(path.name for path in tree.iterdir()) == ["partial", "source"]


async def test_an_unknown_output(repos: GitRepositories) -> None:
    assert repos.base.is_dir()
    assert cache.load_output(toplevel("z")) is None


# --- nixConfig ----------------------------------------------------------------------------

PROBE = """{ nixConfig.pure-eval = false; outputs = _: {
  nixosConfigurations.web1.config.system.build.toplevel = derivation {
    name = "nixos-system-web1-%s"; system = "x86_64-linux"; builder = "/bin/sh";
    args = [ "-c" "echo 'home: ${builtins.getEnv "HOME"}' > $out" ]; }; }; }
"""
"""A flake whose settings, if nix takes them, let it see this machine."""


@pytest.mark.parametrize("how", ["accept-flake-config", "trusted-settings.json"])
async def test_the_settings_of_a_flake_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nix_log: Path, how: str
) -> None:
    """Whatever the user has accepted: by configuration, or for good when nix asked."""
    data = tmp_path / "data"
    (data / "nix").mkdir(parents=True)
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    if how == "accept-flake-config":
        monkeypatch.setenv("NIX_CONFIG", "accept-flake-config = true")
    else:
        (data / "nix" / how).write_text('{"pure-eval": {"false": true}}')
    (tmp_path / "flake").mkdir()
    (tmp_path / "flake" / "flake.nix").write_text(PROBE % uuid.uuid4().hex)
    run("nix", "--extra-experimental-features", "nix-command flakes", "flake", "lock",
        f"path:{tmp_path / 'flake'}")  # fmt: skip
    nix_log.write_text("")  # noqa: ASYNC240 a small local file
    found = await systems(tmp_path, host("web1"), app_ref=None)
    await closure.realise(tuple(found.values()))
    assert run("cat", found["web1"].out_path.path) == "home:"
    calls = nix_log.read_text().splitlines()  # noqa: ASYNC240 a small local file
    assert {"metadata", "eval", "build"} <= {word for line in calls for word in line.split()}
    assert all("--option accept-flake-config false" in line for line in calls)


# --- what does not evaluate ---------------------------------------------------------------


async def refused(root: Path, *names: str) -> str:
    with pytest.raises(EvaluationError) as caught:
        await systems(root, *(host(name, app_ref="v1") for name in names))
    return str(caught.value)


async def test_an_unknown_attribute(root: Path) -> None:
    known = "broken, throws1, throws2, web1, web2"
    assert await refused(root, "web3") == (
        f"unknown host attribute: web3: the flake has no nixosConfigurations.web3 (it has {known})."
        " did you mean web2?"
    )
    assert (await refused(root, "zzz")).endswith(". set `attr` of the host to one of them")


async def test_a_flake_that_does_not_evaluate(root: Path) -> None:
    text = await refused(root, "throws2", "web1", "throws1", "web4")
    heads = [line for line in text.splitlines() if line.startswith(("the flake", "unknown"))]
    assert [line.split(":")[1].strip() for line in heads] == ["throws1", "throws2", "web4"]
    assert "error: hosts.json: throws1: this host does not evaluate (fault eval-fails)" in text
    assert "`nix eval` of nixosConfigurations.throws2 shows the whole trace" in text


async def test_a_failure_does_not_stop_the_others(root: Path, nix_log: Path) -> None:
    await refused(root, "throws1", "web1")
    before = len(evaluations(nix_log))
    await systems(root, host("web1", app_ref="v1"))
    assert len(evaluations(nix_log)) == before


async def test_a_system_that_is_not_an_image(root: Path) -> None:
    one = replace(host("web1", app_ref="v1"), incus=IncusSpec(name="web1"))
    none = replace(one, incus=IncusSpec(name="web1", image=Attr.parse("base")))
    releases = await release.resolve(settings("./flake", app_ref="v1", hosts=(one,)), root)
    with pytest.raises(EvaluationError) as caught:
        await evaluate.evaluate_images(releases, (one,))
    assert str(caught.value) == (
        "not an Incus image: web1: nixosConfigurations.web1 has no config.system.build.metadata. "
        "import NixOS's lxc-container.nix in it, or name another `image`"
    )
    with pytest.raises(EvaluationError) as caught:
        await evaluate.evaluate_images(releases, (none,))
    text = str(caught.value)
    assert text.startswith(
        "unknown image attribute: base: the flake has no nixosConfigurations.base (it has "
    )
    assert text.endswith("). set `image` of `incus` to one of them")


async def test_packages(root: Path) -> None:
    releases = await release.resolve(settings("./flake", app_ref="v1", hosts=()), root)
    here, image = releases[None], ServiceImage("x86_64-linux", AttrPath.parse("app-image"))
    found = await evaluate.evaluate_packages([(here, image)])
    (system,) = found.values()
    assert found == {(here.lock, image): system}
    assert system.out_path.name == "docker-image-app-image.tar"
    with pytest.raises(EvaluationError) as caught:
        await evaluate.evaluate_packages(
            [(here, image), (here, ServiceImage("x86_64-linux", AttrPath.parse("app-imag")))]
        )
    assert str(caught.value) == (
        "unknown service attribute: app-imag: the flake has no packages.x86_64-linux.app-imag "
        "(it has app-image). did you mean app-image?"
    )


# --- building -----------------------------------------------------------------------------


async def test_a_failed_build(root: Path) -> None:
    broken = (await systems(root, host("broken", app_ref="v1")))["broken"]
    with pytest.raises(BuildError) as caught:
        await closure.realise((broken,))
    text = str(caught.value)
    assert text.startswith("the build failed: broken: ")
    assert "cannot build this host (fault build-fails)" in text
    assert text.endswith(
        "no host was changed; fix the flake or the app, then run `pulumi up` again"
    )


async def test_existing_paths_are_not_built(root: Path, nix_log: Path) -> None:
    found = tuple((await systems(root)).values())
    await closure.realise(found)
    built = len(builds(nix_log))
    await closure.realise(found)
    assert len(builds(nix_log)) == built


async def test_the_users_builders_are_honoured(
    root: Path, nix_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The builders and substituters of nix.conf reach the build unchanged."""
    builder = "ssh-ng://nobody@127.0.0.1 riscv64-linux"
    monkeypatch.setenv("NIX_CONFIG", f"builders = {builder}")
    shown = await nix.command("config", "show", "builders")
    assert shown.text == builder
    await closure.realise(tuple((await systems(root)).values()))
    (build,) = builds(nix_log)
    assert "--builders" not in build
    assert re.findall("--option ([^ ]+)", build) == ["accept-flake-config"]
    assert "substitute" not in build


async def test_a_preview_builds_nothing(root: Path) -> None:
    found = await systems(root)
    assert not nix.is_present(found["web1"].out_path)


async def test_activation_settings_of_a_host(
    repos: GitRepositories, tmp_path: Path, nix_log: Path
) -> None:
    activation = {"checks": {"web": {"http": "http://localhost:8080/"}}, "settle": "3s"}
    repos.render(tmp_path / "flake", {"web1": {"activation": activation}})
    first = await systems(tmp_path, app_ref=None)
    assert first["web1"].activation == activation
    before = len(evaluations(nix_log))
    assert await systems(tmp_path, app_ref=None) == first
    assert len(evaluations(nix_log)) == before
