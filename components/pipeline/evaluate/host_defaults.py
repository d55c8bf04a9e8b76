"""Defaults for `activation` that a host's flake gives: the config is laid over them."""

from collections.abc import Iterable, Mapping

from ..config.activation import DEFAULTS, Activation, read_activation
from ..config.hosts import HOST, HostSpec
from ..config.section import Section
from ..errors import EvaluationError, Problem, message
from .attribute import EvaluatedAttr


def read(
    systems: Mapping[str, EvaluatedAttr], hosts: Iterable[HostSpec]
) -> Mapping[str, Activation]:
    """The `config.flakeup.activation` of each host that has one, by host name.

    Raises:
        EvaluationError: one is not a valid `activation`; all problems at once.
    """
    problems: list[Problem] = []
    found = {
        host.name: _read(systems[host.name], problems)
        for host in hosts
        if systems[host.name].activation
    }
    if problems:
        lines = sorted({message(one.path, one.value, one.why, one.remedy) for one in problems})
        raise EvaluationError("\n".join(["the flake's own activation of a host:", *lines]))
    return found


def _read(system: EvaluatedAttr, problems: list[Problem]) -> Activation:
    section = Section(
        values={"activation": system.activation},
        table=HOST,
        problems=problems,
        path=f"nixosConfigurations.{system.attr}.config.flakeup",
    )
    return read_activation(section, DEFAULTS)
