"""Whose a resource is: an input of each, which the program takes from the stack's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from components.pipeline.errors import message
from components.pipeline.values import Owner

from ..sdk.diff import Diff
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.values import contains_unknown

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.values import Properties

OWNER: Final = "owner"


def owner_of(text: str, urn: str) -> Owner:
    """The owner in the inputs; in those from before there was one, the stack by its name."""
    return Owner.parse(text) if text else Owner.of_urn(urn)


def known_owner(inputs: Properties, urn: str) -> Owner | None:
    """The owner in the inputs of a preview; None before the first `up`, which makes it."""
    if contains_unknown(inputs.get(OWNER)):
        return None
    return owner_of(Inputs(inputs).string(OWNER, ""), urn)


def prior_owner(prior: PriorState, urn: str) -> Owner:
    """The owner that a resource in the state has."""
    return owner_of(Inputs(prior.inputs or prior.state).string(OWNER, ""), urn)


def settle_owner(found: Diff, new: Properties, prior: PriorState, operation: Operation) -> Diff:
    """A diff in which an owner that only came into the state is no change.

    Raises:
        OperationError: the resource is from before there were owners, its label is the stack's
            name, and the stack has got an id since: what has that label may be another stack's.
    """
    owner = new.get(OWNER)
    if OWNER in prior.inputs or owner is None or "*" in operation.ignore_changes:
        return found
    before, now = Owner.of_urn(operation.urn), known_owner(new, operation.urn)
    if now is None or now.id:
        detail = f"what it has made is labelled {before.text}, as other stacks may be labelled too"
        remedy = f"`pulumi config set owner {before.text}` keeps all of it as it is"
        where = f"{operation.name} of {before.text}"
        raise OperationError(message("no owner in the state", where, detail, remedy))
    kept = tuple(one for one in found.differences if one.top != OWNER)
    return Diff(differences=kept, delete_before_replace=found.delete_before_replace)
