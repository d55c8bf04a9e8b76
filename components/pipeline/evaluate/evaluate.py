"""From a release to the store paths of its hosts and images, before anything is built.

Each distinct (release, attribute) is evaluated once, in its own process: hosts would share
nothing in one evaluator but parsed files, and a failing one does not stop the others.
"""

import asyncio
import difflib
import json
import os
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from ..config.stack import HostSpec
from ..errors import EvaluationError, ProcessError, message
from ..process.run import CompletedProcess, process_error
from ..release import nix
from ..release.builders import explain_missing_builder
from ..release.release import Release
from ..values import Attr, InvalidValue, Ref
from . import attribute as attributes
from . import cache, failure
from .attribute import Attribute, EvaluatedAttr, HostSystem, ImageBuild, IncusImage

_Key = tuple[Path, Attribute]
_Name = TypeVar("_Name", bound=Hashable)

_OUTSIDE: Final = re.compile(
    r"access to absolute path '/nix/store/(?![0-9a-z]{32}-)([^'/]+)[^']*' is forbidden in pure"
)
"""What nix says of `../common` in a flake: the folder that it is in is a path of the store."""

EVALUATION_MEMORY: Final = 1_700 * 1024 * 1024
"""Bytes that evaluating one NixOS host takes; published measurements say about 1.7 GB."""


async def evaluate_hosts(
    releases: dict[Ref | None, Release], hosts: tuple[HostSpec, ...]
) -> dict[str, EvaluatedAttr]:
    """The system of each host, by host name.

    Raises:
        EvaluationError: one message for all attributes that do not evaluate.
    """
    requests = {
        host.name: _Request(_release_of(releases, host), HostSystem(host.attr)) for host in hosts
    }
    return {name: system for name, (system,) in (await _evaluate_all(requests)).items()}


async def evaluate_images(
    releases: dict[Ref | None, Release], hosts: tuple[HostSpec, ...]
) -> dict[str, ImageBuild]:
    """The image of each Incus instance, by host name.

    Raises:
        EvaluationError: one message for all that do not evaluate, or are not an image.
    """
    attrs = {host.name: host.incus.image or host.attr for host in hosts if host.incus}
    requests = {
        host.name: _Request(_release_of(releases, host), IncusImage(attrs[host.name]))
        for host in hosts
        if host.incus
    }
    return {
        name: ImageBuild(attr=attrs[name].text, metadata=metadata, rootfs=rootfs)
        for name, (metadata, rootfs) in (await _evaluate_all(requests)).items()
    }


async def evaluate_packages(
    packages: Iterable[tuple[Release, Attribute]],
) -> dict[tuple[Path, Attribute], EvaluatedAttr]:
    """Packages of releases, by lock and attribute.

    Raises:
        EvaluationError: one message for all that do not evaluate.
    """
    requests = {one.key: one for one in (_Request(*package) for package in packages)}
    return {key: system for key, (system,) in (await _evaluate_all(requests)).items()}


async def evaluate_host(release: Release, attr: str) -> EvaluatedAttr:
    """The system of one attribute.

    Raises:
        EvaluationError: it does not evaluate.
    """
    request = _Request(release, HostSystem(Attr.parse(attr)))
    (system,) = await _evaluate_cached(request, await nix.version())
    return system


def _release_of(releases: dict[Ref | None, Release], host: HostSpec) -> Release:
    return releases.get(host.app_ref, releases[None])


@dataclass(frozen=True, slots=True)
class _Request:
    """An attribute of a release."""

    release: Release
    attribute: Attribute

    @property
    def key(self) -> _Key:
        return self.release.lock, self.attribute


async def _evaluate_all(
    requests: Mapping[_Name, _Request],
) -> dict[_Name, tuple[EvaluatedAttr, ...]]:
    """The derivations for each name; equal requests are evaluated once."""
    if not requests:
        return {}
    version = await nix.version()
    distinct = {one.key: one for one in requests.values()}
    workers = asyncio.Semaphore(_workers())

    async def evaluate(request: _Request) -> tuple[EvaluatedAttr, ...]:
        async with workers:
            return await _evaluate_cached(request, version)

    results = await asyncio.gather(*map(evaluate, distinct.values()), return_exceptions=True)
    evaluated = _all_or_errors(dict(zip(distinct, results, strict=True)))
    return {name: evaluated[one.key] for name, one in requests.items()}


def _all_or_errors(
    results: dict[_Key, tuple[EvaluatedAttr, ...] | BaseException],
) -> dict[_Key, tuple[EvaluatedAttr, ...]]:
    evaluated = {key: it for key, it in results.items() if isinstance(it, tuple)}
    errors = [it for it in results.values() if isinstance(it, BaseException)]
    for error in errors:
        if not isinstance(error, EvaluationError):
            raise error
    if errors:
        raise EvaluationError("\n".join(sorted(map(str, errors))))
    return evaluated


def _workers() -> int:
    """One evaluator per core, as far as three quarters of the free memory are enough for them."""
    cores = os.cpu_count() or 1
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return cores
    return max(1, min(cores, int(free * 0.75) // EVALUATION_MEMORY))


async def _evaluate_cached(request: _Request, version: str) -> tuple[EvaluatedAttr, ...]:
    """Ask nix only for what it was never asked."""
    release, attribute = request.release, request.attribute
    name = attributes.installable(attribute, release.flake.identity)
    keys = [(name, build, release.lock_sha256, version) for build in attributes.builds(attribute)]
    known = [evaluated for key in keys if (evaluated := cache.load(*key))]
    if len(known) == len(keys):
        return tuple(known)
    found = await _evaluate(request)
    for key, evaluated in zip(keys, found, strict=True):
        cache.save(evaluated, *key)
    return found


async def _evaluate(request: _Request) -> tuple[EvaluatedAttr, ...]:
    release, attribute = request.release, request.attribute
    argv = (
        "eval",
        "--json",
        "--reference-lock-file", str(release.lock),
        "--no-update-lock-file",
        "--apply", attributes.expression(attribute),
        "--",
        attributes.installable(attribute, release.flake.url),
    )  # fmt: skip
    try:
        # Not checked: of a long output an error keeps the end, and a reason begins earlier.
        done = await nix.command(*argv, check=False)
        if done.code != 0:
            raise await _explain(request, done)
    except ProcessError as error:
        raise _failed(request, error.last_lines(20), error.remedy) from error
    fields = json.loads(done.stdout)
    found = [_evaluated(attribute, paths) for paths in fields["builds"]]
    return tuple(replace(one, activation=fields["activation"]) for one in found)


def _evaluated(attribute: Attribute, paths: Mapping[str, Any]) -> EvaluatedAttr:
    outputs = paths["outputs"]
    try:
        found = cache.parse(attribute.name, paths)
    except (InvalidValue, TypeError):
        raise failure.unusable(attribute, paths) from None
    if outputs and "out" not in outputs:
        raise failure.unusable(attribute, paths)
    return found


async def _explain(request: _Request, done: CompletedProcess) -> EvaluationError:
    attribute, path = request.attribute, attributes.display_path(request.attribute)
    printed = done.stderr_text
    if missing := failure.missing_attribute(attribute, printed):
        return missing
    if "does not provide attribute" in printed:
        known = await _siblings(request)
        near = difflib.get_close_matches(attribute.path.parts[-1].text, known, n=1)
        set_key = f"set {attributes.config_key(attribute)} to one of them"
        remedy = f"did you mean {attributes.next_to(attribute, near[0])}?" if near else set_key
        detail = f"{request.release.label} has no {path} (it has {', '.join(known) or 'none'})"
        what = f"unknown {attribute.kind} attribute"
        return EvaluationError(message(what, attribute.name, detail, remedy))
    if outside := _OUTSIDE.search(printed):
        path = attributes.display_path(request.attribute)
        detail = f"{path} reads {outside[1]} next to the flake's folder, which is no part of it"
        remedy = "name a folder that holds both, such as `flake: .?dir=flake`"
        name = request.attribute.name
        return EvaluationError(message("outside of the flake", name, detail, remedy))
    if builder := explain_missing_builder(printed):
        return _failed(request, *builder)
    error = process_error(done.argv, done.code, printed)
    reason = failure.reason(printed)
    detail = f"error: {reason}" if reason and not error.remedy else error.last_lines(20)
    return _failed(request, detail, error.remedy)


def _failed(request: _Request, detail: str, remedy: str) -> EvaluationError:
    path = attributes.display_path(request.attribute)
    remedy = remedy or f"`nix eval` of {path} shows the whole trace"
    what = "the flake does not evaluate"
    return EvaluationError(message(what, request.attribute.name, detail, remedy))


async def _siblings(request: _Request) -> list[str]:
    """The names in the attribute's set; none if that cannot be evaluated."""
    argv = (
        "eval",
        "--json",
        "--reference-lock-file", str(request.release.lock),
        "--no-update-lock-file",
        "--apply", "builtins.attrNames",
        "--",
        attributes.siblings(request.attribute, request.release.flake.url),
    )  # fmt: skip
    done = await nix.command(*argv, check=False)
    return [str(name) for name in json.loads(done.stdout)] if done.code == 0 else []
