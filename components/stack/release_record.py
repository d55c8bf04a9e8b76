"""`release`: the record of what is deployed, in the state; it refuses a tag that has moved."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi

from ..pipeline.config.stack import HostSpec, Settings
from ..pipeline.errors import RefError, message
from ..pipeline.evaluate import cache, previous
from ..pipeline.evaluate.attribute import EvaluatedAttr
from ..pipeline.release.git import RefKind
from ..pipeline.release.release import Release
from ..pipeline.values import Ref, StorePath

Record = Mapping[str, Any]


class ReleaseRecord:
    """The release in the state, compared with the previous one.

    The hook runs in previews too: a tag that moved since its last deployment is refused before
    anything happens, unless `appRev` names the new commit.
    """

    stash: pulumi.Stash

    def __init__(self, settings: Settings, releases: Mapping[Ref | None, Release]) -> None:
        self._settings = settings
        self._now: Record = _record(settings, releases)
        self._before: Record = self._now
        options = pulumi.ResourceHookOptions(on_dry_run=True)
        hook = pulumi.ResourceHook("release", self._compare, options)
        self.stash = pulumi.Stash(
            "release",
            input=self._now,
            opts=pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_update=[hook])),
        )
        for note in releases[None].flake.notes:
            pulumi.log.info(note, resource=self.stash)

    def names(self, host: HostSpec) -> dict[str, str]:
        """`appRef` and `appRev` of a host's release; empty without an app."""
        record = self._of(host)
        return {key: str(record.get(key) or "") for key in ("appRef", "appRev")}

    def line(self, host: HostSpec) -> str:
        """A host's release in one line, for the host's own records."""
        shown = ("appRef", "appRev", "flake", "flakeRev", "flakeNarHash")
        record = self._of(host)
        return ", ".join(f"{key} {record[key]}" for key in shown if record.get(key))

    def _of(self, host: HostSpec) -> Record:
        return {**self._now, **self._now.get("hosts", {}).get(host.name, {})}

    async def previous(self, host: HostSpec, out: StorePath) -> EvaluatedAttr | None:
        """The system that was deployed as `out`; None if it cannot be evaluated here."""
        found = cache.load_output(out)
        if found:
            return found
        record = {**self._before, **self._before.get("hosts", {}).get(host.name, {})}
        return await previous.evaluate_previous(
            record, self._settings, Path.cwd(), host.attr.text, out
        )

    async def _compare(self, args: pulumi.ResourceHookArgs) -> None:
        old, new = (_input(side) for side in (args.old_inputs, args.new_inputs))
        self._before = old
        accepted = self._settings.app_rev.text if self._settings.app_rev else None
        refuse_moved_tags(old, new, accepted)


def refuse_moved_tags(old: Record, new: Record, accepted: str | None) -> None:
    """Compare the record of this run with that of the previous one.

    Raises:
        RefError: tags have moved, to other commits than `accepted`.
    """
    moved = [line for pair in _pairs(old, new) if (line := _moved(*pair, accepted))]
    if moved:
        raise RefError("\n".join(moved))


def _record(settings: Settings, releases: Mapping[Ref | None, Release]) -> dict[str, Any]:
    """The stack's release and those of hosts with their own ref."""
    own = {
        host.name: releases[host.app_ref].app_record()
        for host in settings.hosts
        if host.app_ref in releases
    }
    record: dict[str, Any] = dict(releases[None].record(settings.flake))
    return {**record, "hosts": own} if own else record


def _input(inputs: Record | None) -> Record:
    found = (inputs or {}).get("input")
    return found if isinstance(found, Mapping) else {}


def _pairs(old: Record, new: Record) -> Iterator[tuple[Record, Record]]:
    yield old, new
    for name, record in new.get("hosts", {}).items():
        yield old.get("hosts", {}).get(name, {}), record


def _moved(old: Record, new: Record, accepted: str | None) -> str | None:
    is_same_tag = old.get("appRef") == new.get("appRef") and new.get("appRefKind") == RefKind.TAG
    # Another repository has tags of its own. A record of an earlier version names none.
    is_same_tag = is_same_tag and new.get("appUrl") == old.get("appUrl", new.get("appUrl"))
    if not is_same_tag or new.get("appRev") in (old.get("appRev"), accepted):
        return None
    detail = f"it was last deployed as {old.get('appRev')}, and is {new.get('appRev')} now"
    remedy = (
        "find out who moved it; to deploy it anyway, "
        f"`pulumi config set appRev {new.get('appRev')}`"
    )
    return message("a tag has moved", f"appRef {new.get('appRef')}", detail, remedy)
