"""`release`: what is deployed, kept in the state; a tag that has moved is refused by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from components.pipeline import previous
from components.pipeline.errors import RefError, message
from components.pipeline.evaluate import System, evaluated
from components.pipeline.git import RefKind
from components.pipeline.grammar import StorePath
from components.pipeline.release import Release
from components.pipeline.settings import Settings


class ReleaseRecord:
    """The release in the state, held against the one before.

    The hook runs in previews too: a tag that moved since it was last deployed is refused
    before anything happens, unless `appRev` says that the new commit is meant.
    """

    stash: pulumi.Stash

    def __init__(self, settings: Settings, release: Release) -> None:
        self._settings = settings
        self._previous: Mapping[str, Any] = release.record(settings.flake)
        options = pulumi.ResourceHookOptions(on_dry_run=True)
        hook = pulumi.ResourceHook("release", self._compare, options)
        self.stash = pulumi.Stash(
            "release",
            input=self._previous,
            opts=pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_update=[hook])),
        )

    async def previous(self, attr: str, out: StorePath) -> System | None:
        """The system that was deployed as `out`, so far as it can be evaluated here."""
        return evaluated(out) or await previous.system(
            self._previous, self._settings, Path.cwd(), attr, out
        )

    async def _compare(self, args: pulumi.ResourceHookArgs) -> None:
        old, new = (_release(side) for side in (args.old_inputs, args.new_inputs))
        self._previous = old
        if self._settings.app_rev is None and (moved := _moved(old, new)):
            raise RefError(moved)


def _release(inputs: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = (inputs or {}).get("input")
    return found if isinstance(found, Mapping) else {}


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    is_same_tag = old.get("appRef") == new.get("appRef") and new.get("appRefKind") == RefKind.TAG
    if not is_same_tag or old.get("appRev") == new.get("appRev"):
        return None
    detail = f"it was {old.get('appRev')} when it was last deployed, and is {new.get('appRev')} now"
    remedy = (
        "find out who moved it; to deploy it all the same, "
        f"`pulumi config set appRev {new.get('appRev')}`"
    )
    return message("a tag has moved", f"appRef {new.get('appRef')}", detail, remedy)
