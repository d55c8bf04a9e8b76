"""From a release to the store paths of its hosts, before anything is built.

Each distinct (release, attribute) is evaluated once, in a process of its own: hosts share
nothing in an evaluator but parsed files, and one that fails does not take the others with it.
"""

import asyncio
import difflib
import hashlib
import json
import os
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from ..config.stack import HostSpec
from ..errors import EvaluationError, ProcessError, message
from ..release import nix
from ..release.release import Release
from ..values import Ref, StorePath
from .attribute import Attribute

_Key = tuple[Path, Attribute]
_Name = TypeVar("_Name", bound=Hashable)

EVALUATION_MEMORY = 1_700 * 1024 * 1024
"""Bytes that one NixOS host is taken to need (measured by others: about 1.7 GB a host)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedAttr:
    """A host's toplevel: what builds it, and the store path that it will have."""

    attr: str
    drv_path: StorePath
    out_path: StorePath
    activation: Mapping[str, object] = field(default_factory=dict, hash=False)
    """What a host's system says itself of how it is switched: `config.flakeup.activation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """The two parts of an Incus image of one system, each of them a derivation."""

    attr: str
    metadata: EvaluatedAttr
    rootfs: EvaluatedAttr

    @property
    def parts(self) -> tuple[EvaluatedAttr, EvaluatedAttr]:
        """Both, for the build."""
        return self.metadata, self.rootfs


async def evaluate_hosts(
    releases: dict[Ref | None, Release], hosts: tuple[HostSpec, ...]
) -> dict[str, EvaluatedAttr]:
    """The system of each host, by host name.

    Raises:
        EvaluationError: one message for all the attributes that do not evaluate.
    """
    wanted = {
        host.name: _Request(_chosen(releases, host), Attribute.toplevel(host.attr.text))
        for host in hosts
    }
    return {name: system for name, (system,) in (await _all(wanted)).items()}


async def evaluate_images(
    releases: dict[Ref | None, Release], hosts: tuple[HostSpec, ...]
) -> dict[str, ImageBuild]:
    """The image that each instance of Incus is made from, by host name.

    Raises:
        EvaluationError: one message for all that do not evaluate, or are no image.
    """
    attrs = {host.name: (host.incus.image or host.attr).text for host in hosts if host.incus}
    wanted = {
        host.name: _Request(_chosen(releases, host), Attribute.container(attrs[host.name]))
        for host in hosts
        if host.incus
    }
    return {
        name: ImageBuild(attr=attrs[name], metadata=metadata, rootfs=rootfs)
        for name, (metadata, rootfs) in (await _all(wanted)).items()
    }


async def evaluate_packages(
    packages: Iterable[tuple[Release, Attribute]],
) -> dict[tuple[Path, Attribute], EvaluatedAttr]:
    """Packages of releases, by lock and attribute.

    Raises:
        EvaluationError: one message for all that do not evaluate.
    """
    wanted = {one.key: one for one in (_Request(*package) for package in packages)}
    return {key: system for key, (system,) in (await _all(wanted)).items()}


async def evaluate_one(release: Release, attr: str) -> EvaluatedAttr:
    """The system of one attribute; raises EvaluationError."""
    wanted = _Request(release, Attribute.toplevel(attr))
    (system,) = await _evaluate_cached(wanted, await nix.version())
    return system


def _chosen(releases: dict[Ref | None, Release], host: HostSpec) -> Release:
    return releases.get(host.app_ref, releases[None])


@dataclass(frozen=True, slots=True)
class _Request:
    """An attribute of a release."""

    release: Release
    attribute: Attribute

    @property
    def key(self) -> _Key:
        return self.release.lock, self.attribute


async def _all(wanted: Mapping[_Name, _Request]) -> dict[_Name, tuple[EvaluatedAttr, ...]]:
    """The builds of what each name wants; what several want is evaluated once."""
    if not wanted:
        return {}
    version = await nix.version()
    distinct = {one.key: one for one in wanted.values()}
    slots = asyncio.Semaphore(_workers())

    async def one_of(one: _Request) -> tuple[EvaluatedAttr, ...]:
        async with slots:
            return await _evaluate_cached(one, version)

    outcomes = await asyncio.gather(*map(one_of, distinct.values()), return_exceptions=True)
    systems = _all_or_errors(dict(zip(distinct, outcomes, strict=True)))
    return {name: systems[one.key] for name, one in wanted.items()}


def _all_or_errors(
    outcomes: dict[_Key, tuple[EvaluatedAttr, ...] | BaseException],
) -> dict[_Key, tuple[EvaluatedAttr, ...]]:
    systems = {key: it for key, it in outcomes.items() if isinstance(it, tuple)}
    failures = [it for it in outcomes.values() if isinstance(it, BaseException)]
    for failure in failures:
        if not isinstance(failure, EvaluationError):
            raise failure
    if failures:
        raise EvaluationError("\n".join(sorted(map(str, failures))))
    return systems


def _workers() -> int:
    """As many evaluators as there are cores, and memory for (three quarters of what is free)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.cpu_count() or 1
    return max(1, min(os.cpu_count() or 1, int(free * 0.75) // EVALUATION_MEMORY))


async def _evaluate_cached(wanted: _Request, version: str) -> tuple[EvaluatedAttr, ...]:
    """Ask nix only for what was never asked: the answer depends on nothing else than the key.

    A derivation that has left the store since is made again, by evaluating again.
    """
    release = wanted.release
    name = wanted.attribute.installable(release.flake.identity)
    keys = [[name, build, release.lock_sha256, version] for build in wanted.attribute.builds]
    memos = [_memo("systems", _digest(key)) for key in keys]
    known = [
        system for memo in memos if (system := _load(memo)) and nix.is_present(system.drv_path)
    ]
    if len(known) == len(memos):
        return tuple(known)
    systems = await _evaluate(wanted)
    for memo, system in zip(memos, systems, strict=True):
        _save(memo, system)
        _save(_memo("outputs", system.out_path.digest), system)
    return systems


def _digest(key: list[str]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def evaluated(out: StorePath) -> EvaluatedAttr | None:
    """The system that has this output, where it was evaluated on this machine before."""
    system = _load(_memo("outputs", out.digest))
    return system if system and system.out_path == out and nix.is_present(system.drv_path) else None


async def _evaluate(wanted: _Request) -> tuple[EvaluatedAttr, ...]:
    release, attribute = wanted.release, wanted.attribute
    words = (
        "eval",
        "--json",
        "--reference-lock-file", str(release.lock),
        "--no-update-lock-file",
        "--apply", attribute.expression,
        "--",
        attribute.installable(release.flake.url),
    )  # fmt: skip
    try:
        answer = await nix.command(*words)
    except ProcessError as error:
        raise await _explain(wanted, error) from error
    said = json.loads(answer.stdout)
    systems = [_system(attribute.name, built) for built in said["builds"]]
    return tuple(replace(system, activation=said["data"]) for system in systems)


def _system(attr: str, built: Mapping[str, Any]) -> EvaluatedAttr:
    return EvaluatedAttr(
        attr=attr, drv_path=StorePath.parse(built["drv"]), out_path=StorePath.parse(built["out"])
    )


_NAMED_BY: Final = {
    "service": "`image` of the service",
    "image": "`image` of `incus`",
    "host": "`attr` of the host",
}
"""The key of the config that an attribute comes from."""


async def _explain(wanted: _Request, error: ProcessError) -> EvaluationError:
    attribute, attr = wanted.attribute, wanted.attribute.name
    if missing := re.search(r"attribute '(metadata|squashfs)' missing", error.detail):
        detail = f"{attribute.path} has no config.system.build.{missing[1]}"
        remedy = "import NixOS's lxc-container.nix in it, or name another `image`"
        return EvaluationError(message("not an Incus image", attr, detail, remedy))
    if "does not provide attribute" in error.detail:
        known = await _attributes(wanted)
        near = difflib.get_close_matches(attr, known, n=1)
        what = attribute.what
        hint = f"did you mean {near[0]}?" if near else f"set {_NAMED_BY[what]} to one of them"
        listed = ", ".join(known) or "none"
        detail = f"{wanted.release.whose} has no {attribute.path} (it has {listed})"
        return EvaluationError(message(f"unknown {what} attribute", attr, detail, hint))
    remedy = f"`nix eval` of {attribute.path} shows the whole trace"
    # Nix's trace comes first, and its reason last.
    *_, reason = re.split(r"^\s*error: ", error.detail, flags=re.MULTILINE)
    detail = f"error: {reason.strip()}" if reason != error.detail else error.last_lines(20)
    return EvaluationError(message("the flake does not evaluate", attr, detail, remedy))


async def _attributes(wanted: _Request) -> list[str]:
    words = (
        "eval",
        "--json",
        "--reference-lock-file", str(wanted.release.lock),
        "--no-update-lock-file",
        "--apply", "builtins.attrNames",
        "--",
        f"{wanted.release.flake.url}#{wanted.attribute.home}",
    )  # fmt: skip
    answer = await nix.command(*words, check=False)
    return [str(name) for name in json.loads(answer.stdout)] if answer.code == 0 else []


def _memo(kind: str, digest: str) -> Path:
    folder = nix.cache_folder() / kind
    folder.mkdir(exist_ok=True)
    return folder / f"{digest}.json"


def _load(memo: Path) -> EvaluatedAttr | None:
    try:
        fields: dict[str, Any] = json.loads(memo.read_bytes())
        system = _system(str(fields["attr"]), fields)
        return replace(system, activation=dict(fields.get("activation") or {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _save(memo: Path, system: EvaluatedAttr) -> None:
    fields: dict[str, object] = {
        "attr": system.attr,
        "drv": system.drv_path.path,
        "out": system.out_path.path,
        "activation": system.activation,
    }
    partial = memo.with_name(f"{memo.name}.{os.getpid()}")
    partial.write_text(json.dumps(fields), encoding="ascii")
    partial.replace(memo)
