"""The waves in which hosts are switched."""

import re
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Final

from ..config.rollout import Rollout

_DIGITS: Final = re.compile(r"([0-9]+)")


def waves_of(names: Sequence[str], rollout: Rollout) -> tuple[tuple[str, ...], ...]:
    """Divide hosts into waves, in natural order (web2 before web10), canaries first.

    A named canary that is not in `names` gives no wave. Each name is in exactly one wave; no wave
    is empty.
    """
    ordered = sorted(names, key=_natural)
    match rollout.canary:
        case int() as count:
            first = ordered[:count]
        case name:
            first = [one for one in ordered if one == name]
    rest = [name for name in ordered if name not in first]
    made = [tuple(first)]
    for size in chain(rollout.waves, repeat((rollout.waves or (len(names),))[-1])):
        if not rest:
            break
        made.append(tuple(rest[:size]))
        rest = rest[size:]
    return tuple(wave for wave in made if wave)


def _natural(name: str) -> tuple[list[str | int], str]:
    """The sort key: text and numbers alternate, so that like is compared with like."""
    pieces = _DIGITS.split(name)
    return [int(piece) if piece.isdecimal() else piece for piece in pieces], name
