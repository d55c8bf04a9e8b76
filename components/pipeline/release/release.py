"""What is deployed: the infra flake and its app input, each pinned to a commit, and one lock.

A release is resolved once per run. Every later nix command gets its URL with
`--reference-lock-file`, never `--override-input`, which gives wrong answers from nix's evaluation
cache and loses `self.rev` (NixOS/nix#11703).
"""

from dataclasses import dataclass, replace
from pathlib import Path

from ..config.stack import Settings
from ..errors import RefError, message
from ..process.concurrency import all_of, background
from ..values import FlakeUrl, Ref
from . import locks, nix
from .flake import Flake, describe
from .git import Pin
from .pins import Pins
from .urls import folder_url, git_remote, input_url, locked_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A flake, the app's commit (if the flake has an app input) and the lock of both."""

    flake: Flake
    app: Pin | None
    lock: Path
    lock_sha256: str
    app_input: str = "app"
    """The name of the app input in the flake."""
    label: str = "the flake"
    """The flake in messages: the infra flake, or the app's own."""

    def record(self, flake: FlakeUrl) -> dict[str, str]:
        """What the state keeps: enough to get the same sources again."""
        pin = self.flake.pin
        fields = {
            "flake": flake.text,
            "flakeRev": pin.rev.text if pin else None,
            "flakeNarHash": None if pin else self.flake.nar_hash,
            "flakeTree": self.flake.tree,
        }
        return _present(fields) | self.app_record()

    def app_record(self) -> dict[str, str]:
        """The part of the record that differs for a host with its own ref."""
        lock = {"lockSha256": self.lock_sha256}
        if self.app is None or self.app.ref is None:
            return lock
        return lock | {
            "appRef": self.app.ref.text,
            "appRefKind": str(self.app.kind),
            "appRev": self.app.rev.text,
            "appInput": self.app_input,
            "appUrl": input_url(self.flake, self.app_input, self.app.ref).text,
        }


def _present(fields: dict[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in fields.items() if value is not None}


async def resolve(
    settings: Settings, root: Path, pins: Pins | None = None
) -> dict[Ref | None, Release]:
    """Pin and lock everything that the config names: one release per distinct app ref.

    `root` is the program's folder. The key None stands for the stack's own `appRef`. What `pins`
    has is taken from there, and what it lacks is added.

    Raises:
        RefError: a ref, a git server or a flake that cannot be used.
    """
    pins = pins or Pins()
    async with background(nix.version()) as version:
        flake = await _pin_flake(settings, root, pins)
        await version  # it is cached: later stages do not have to wait for it
    refs = {host.app_ref for host in settings.hosts if host.app_ref != settings.app_ref}
    wanted: dict[Ref | None, Ref | None] = {None: settings.app_ref}
    wanted.update({ref: ref for ref in refs if ref is not None})
    releases = await all_of(_release(settings, flake, ref, pins) for ref in wanted.values())
    return dict(zip(wanted, releases, strict=True))


async def _pin_flake(settings: Settings, root: Path, pins: Pins) -> Flake:
    flake = settings.flake
    if not flake.kind.is_pinned_by_ref:
        taken = await pins.take((root / flake.base).resolve(), flake.dir)
        return await describe(flake, folder_url(taken, flake), None, taken)
    pin = await pins.resolve(git_remote(flake), settings.flake_ref, key="flakeRef")
    return await describe(flake, locked_url(flake, pin), pin, None)


async def app_release(release: Release, app_input: str) -> Release:
    """The app's own flake as a release: at the pinned commit, with its own lock.

    Raises:
        RefError: nothing pins it, or it is not a flake.
    """
    app = release.app
    if app is None or app.ref is None:
        detail, remedy = "nothing says at which commit", "set appRef, or write from: flake"
        raise RefError(message("nothing to pin", "the app's flake", detail, remedy))
    url = input_url(release.flake, app_input, app.ref)
    remedy = f"a service with from: app needs a flake.nix in the app, at {app.ref.text}"
    described = await describe(url, locked_url(url, app), app, None, remedy=remedy)
    return replace(await lock_release(described, None, app_input), label="the app's flake")


async def _release(settings: Settings, flake: Flake, ref: Ref | None, pins: Pins) -> Release:
    if ref is None:
        return await lock_release(flake, None, settings.app_input)
    url = input_url(flake, settings.app_input, ref)
    app = await pins.resolve(git_remote(url), ref, key="appRef")
    _check_rev(settings, ref, app)
    return await lock_release(flake, app, settings.app_input)


def _check_rev(settings: Settings, ref: Ref, app: Pin) -> None:
    wanted = settings.app_rev
    if wanted is None or wanted == app.rev or ref != settings.app_ref:
        return
    detail = f"{ref.text} is {app.rev.text} now, and the config says {wanted.text}"
    remedy = "find out who moved it; to accept, `pulumi config set appRev` to the new commit"
    raise RefError(message("appRef and appRev disagree", f"appRef {ref.text}", detail, remedy))


async def lock_release(flake: Flake, app: Pin | None, app_input: str) -> Release:
    """The release with its lock file.

    Raises:
        RefError: it cannot be locked.
    """
    overrides = {}
    if app is not None and app.ref is not None:
        overrides[app_input] = locked_url(input_url(flake, app_input, app.ref), app)
    lock, digest = await locks.lock(flake, overrides)
    return Release(flake=flake, app=app, app_input=app_input, lock=lock, lock_sha256=digest)
