"""Binary caches of a stack, with the real nix and a signed cache in a folder."""

import shlex
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.pipeline.config.caches import Cache
from components.pipeline.config.timeouts import DEFAULT_TIMEOUTS
from components.pipeline.deploy import closure
from components.pipeline.errors import BuildError
from components.pipeline.evaluate import evaluate
from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.evaluate.flake_caches import ignored_caches
from components.pipeline.release import nix, release
from components.pipeline.values import CacheKey, CacheUrl
from harness.daemons.git_repositories import run, settings
from tests.unit.hosts import host

pytest_plugins = ["harness.daemons.servers"]
pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("repos")]

FLAKE = """{ nixConfig.extra-substituters = [ "https://named.example.org" ]; outputs = _: let
  make = builder: derivation { name = "nixos-system-web1-%(name)s"; system = "x86_64-linux";
    inherit builder; args = [ "-c" "echo cached >$out" ]; };
  system = toplevel: { config.system.build = { inherit toplevel; }; };
in { nixosConfigurations = {
  web1 = system (make "/bin/sh");
  ifd = system (derivation { name = builtins.readFile (make "/bin/sh").outPath;
    system = "x86_64-linux"; builder = "/bin/sh"; });
}; }; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A cache that has a system which is not in the store, and cannot be built any more."""

    root: Path
    cache: Cache
    system: EvaluatedAttr


async def evaluated(root: Path) -> EvaluatedAttr:
    hosts = (host("web1"),)
    releases = await release.resolve(settings("./flake", hosts=hosts), root)
    return (await evaluate.evaluate_hosts(releases, hosts))["web1"]


@pytest.fixture
async def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    (tmp_path / "flake").mkdir()
    (tmp_path / "flake/flake.nix").write_text(FLAKE % {"name": uuid.uuid4().hex})
    system = await evaluated(tmp_path)
    await closure.realise((system,))
    secret, folder = tmp_path / "secret", tmp_path / "cache"
    secret.write_text(run(*nix.NIX, "key", "generate-secret", "--key-name", "test-1"))
    convert = shlex.join((*nix.NIX, "key", "convert-secret-to-public"))
    public = run("sh", "-c", f"{convert} <{secret}")
    url = f"file://{folder}"
    run(*nix.NIX, "copy", "--to", f"{url}?secret-key={secret}", system.out_path.path)
    run(*nix.NIX, "store", "delete", system.out_path.path)
    assert not nix.is_present(system.out_path)
    monkeypatch.setenv("NIX_CONFIG", "max-jobs = 0\nbuilders =")
    return Filled(
        root=tmp_path,
        cache=Cache(url=CacheUrl(url), public_key=CacheKey(public)),
        system=system,
    )


@pytest.fixture(autouse=True)
def _default_config() -> Iterator[None]:
    yield
    nix.configure(DEFAULT_TIMEOUTS)


async def test_a_build_takes_what_the_cache_has(filled: Filled) -> None:
    with pytest.raises(BuildError):
        await closure.realise((filled.system,))
    nix.configure(DEFAULT_TIMEOUTS, [filled.cache])
    await closure.realise((filled.system,))
    assert run("cat", filled.system.out_path.path) == "cached"


async def test_what_is_signed_with_another_key_is_not_taken(filled: Filled) -> None:
    other = CacheKey("other-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=")
    nix.configure(DEFAULT_TIMEOUTS, [Cache(url=filled.cache.url, public_key=other)])
    with pytest.raises(BuildError):
        await closure.realise((filled.system,))


async def test_the_caches_that_a_flake_names(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    flake = filled.root / "flake"
    assert await ignored_caches(flake, [filled.cache]) == (
        "the flake names caches that are not used: nixConfig: https://named.example.org. if you"
        " trust them, add them to `caches` or to nix.conf; else what they have is built"
    )
    named = CacheUrl("https://named.example.org/?priority=10")
    cache = Cache(url=named, public_key=filled.cache.public_key)
    assert await ignored_caches(flake, [cache]) is None
    monkeypatch.setenv("NIX_CONFIG", "extra-substituters = https://named.example.org")
    assert await ignored_caches(flake, []) is None
    (flake / "flake.nix").write_text("{ outputs = _: { }; }")
    assert await ignored_caches(flake, []) is None
