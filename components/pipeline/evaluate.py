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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.pipeline import nix
from components.pipeline.errors import EvaluationError, ProcessError, message
from components.pipeline.grammar import Attr, Ref, StorePath
from components.pipeline.release import Release
from components.pipeline.settings import HostSpec

EVALUATION_MEMORY = 1_700 * 1024 * 1024
"""Bytes that one NixOS host is taken to need (measured by others: about 1.7 GB a host)."""


TOPLEVEL = ("toplevel",)
IMAGE = ("metadata", "squashfs")
"""What an Incus image is made of, in the names that NixOS's lxc-container.nix gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A host's toplevel: what builds it, and the store path that it will have."""

    attr: str
    drv: StorePath
    out: StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """The two parts of an Incus image of one system, each of them a derivation."""

    attr: str
    metadata: System
    rootfs: System

    @property
    def parts(self) -> tuple[System, System]:
        """Both, for the build."""
        return self.metadata, self.rootfs


def installable(release: Release, attr: str, build: str = "toplevel") -> str:
    """The toplevel of one NixOS configuration, or another of its builds, as nix names it."""
    return f'{release.flake.url}#nixosConfigurations."{attr}".config.system.build.{build}'


async def evaluate(
    releases: dict[Ref | None, Release], hosts: tuple[HostSpec, ...]
) -> dict[str, System]:
    """The system of each host, by host name.

    Raises:
        EvaluationError: one message for all the attributes that do not evaluate.
    """
    wanted = {host.name: _Wanted.of(releases, host, host.attr) for host in hosts}
    return {name: system for name, (system,) in (await _all(wanted, TOPLEVEL)).items()}


async def evaluate_images(
    releases: dict[Ref | None, Release], hosts: tuple[HostSpec, ...]
) -> dict[str, ImageBuild]:
    """The image that each instance of Incus is made from, by host name.

    Raises:
        EvaluationError: one message for all that do not evaluate, or are no image.
    """
    wanted = {
        host.name: _Wanted.of(releases, host, host.incus.image or host.attr)
        for host in hosts
        if host.incus
    }
    return {
        name: ImageBuild(attr=wanted[name].attr, metadata=metadata, rootfs=rootfs)
        for name, (metadata, rootfs) in (await _all(wanted, IMAGE)).items()
    }


async def evaluate_one(release: Release, attr: str) -> System:
    """The system of one attribute; raises EvaluationError."""
    (system,) = await _remembered(release, attr, TOPLEVEL, await nix.version())
    return system


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An attribute of a release."""

    release: Release
    attr: str

    @classmethod
    def of(cls, releases: dict[Ref | None, Release], host: HostSpec, attr: Attr) -> "_Wanted":
        return cls(releases.get(host.app_ref, releases[None]), attr.text)

    @property
    def key(self) -> tuple[Path, str]:
        return self.release.lock, self.attr


async def _all(
    wanted: dict[str, _Wanted], builds: tuple[str, ...]
) -> dict[str, tuple[System, ...]]:
    """The builds of what each host wants; what several hosts share is evaluated once."""
    if not wanted:
        return {}
    version = await nix.version()
    distinct = {one.key: one for one in wanted.values()}
    slots = asyncio.Semaphore(_workers())

    async def one_of(one: _Wanted) -> tuple[System, ...]:
        async with slots:
            return await _remembered(one.release, one.attr, builds, version)

    outcomes = await asyncio.gather(*map(one_of, distinct.values()), return_exceptions=True)
    systems = _all_or_errors(dict(zip(distinct, outcomes, strict=True)))
    return {name: systems[one.key] for name, one in wanted.items()}


def _all_or_errors(
    outcomes: dict[tuple[Path, str], tuple[System, ...] | BaseException],
) -> dict[tuple[Path, str], tuple[System, ...]]:
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


async def _remembered(
    release: Release, attr: str, builds: tuple[str, ...], version: str
) -> tuple[System, ...]:
    """Ask nix only for what was never asked: the answer depends on nothing else than the key.

    A derivation that has left the store since is made again, by evaluating again.
    """
    key = [release.flake.identity, release.lock_sha256, attr, version]
    digests = [_digest([*key, *(() if build in TOPLEVEL else (build,))]) for build in builds]
    memos = [_memo("systems", digest) for digest in digests]
    known = [system for memo in memos if (system := _load(memo)) and nix.is_present(system.drv)]
    if len(known) == len(builds):
        return tuple(known)
    systems = await _evaluate(release, attr, builds)
    for memo, system in zip(memos, systems, strict=True):
        _save(memo, system)
        _save(_memo("outputs", system.out.digest), system)
    return systems


def _digest(key: list[str]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def evaluated(out: StorePath) -> System | None:
    """The system that has this output, where it was evaluated on this machine before."""
    system = _load(_memo("outputs", out.digest))
    return system if system and system.out == out and nix.is_present(system.drv) else None


async def _evaluate(release: Release, attr: str, builds: tuple[str, ...]) -> tuple[System, ...]:
    words = (
        "build",
        "--dry-run",
        "--no-link",
        "--json",
        "--option", "substitute", "false",
        "--reference-lock-file", str(release.lock),
        "--no-update-lock-file",
        "--",
        *(installable(release, attr, build) for build in builds),
    )  # fmt: skip
    try:
        answer = await nix.command(*words)
    except ProcessError as error:
        raise await _explain(release, attr, error) from error
    return tuple(
        System(
            attr=attr,
            drv=StorePath.parse(built["drvPath"]),
            out=StorePath.parse(built["outputs"]["out"]),
        )
        for built in json.loads(answer.stdout)
    )


async def _explain(release: Release, attr: str, error: ProcessError) -> EvaluationError:
    if "does not provide attribute" in error.detail:
        known = await _attributes(release)
        if attr in known:
            detail = f"nixosConfigurations.{attr} has no config.system.build.squashfs and metadata"
            remedy = "import NixOS's lxc-container.nix in it, or name another `image`"
            return EvaluationError(message("not an Incus image", attr, detail, remedy))
        near = difflib.get_close_matches(attr, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "set `attr` of the host to one of them"
        listed = ", ".join(known) or "none"
        detail = f"the flake has no nixosConfigurations.{attr} (it has {listed})"
        return EvaluationError(message("unknown host attribute", attr, detail, hint))
    remedy = f"`nix eval` of nixosConfigurations.{attr} shows the whole trace"
    # Nix's trace comes first, and its reason last.
    *_, reason = re.split(r"^\s*error: ", error.detail, flags=re.MULTILINE)
    detail = f"error: {reason.strip()}" if reason != error.detail else error.last_lines(20)
    return EvaluationError(message("the flake does not evaluate", attr, detail, remedy))


async def _attributes(release: Release) -> list[str]:
    words = (
        "eval",
        "--json",
        "--reference-lock-file", str(release.lock),
        "--no-update-lock-file",
        "--apply", "builtins.attrNames",
        "--",
        f"{release.flake.url}#nixosConfigurations",
    )  # fmt: skip
    answer = await nix.command(*words, check=False)
    return [str(name) for name in json.loads(answer.stdout)] if answer.code == 0 else []


def _memo(kind: str, digest: str) -> Path:
    folder = nix.cache_folder() / kind
    folder.mkdir(exist_ok=True)
    return folder / f"{digest}.json"


def _load(memo: Path) -> System | None:
    try:
        fields: dict[str, Any] = json.loads(memo.read_bytes())
        return System(
            attr=str(fields["attr"]),
            drv=StorePath.parse(fields["drv"]),
            out=StorePath.parse(fields["out"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(memo: Path, system: System) -> None:
    fields = {"attr": system.attr, "drv": system.drv.path, "out": system.out.path}
    partial = memo.with_name(f"{memo.name}.{os.getpid()}")
    partial.write_text(json.dumps(fields), encoding="ascii")
    partial.replace(memo)
