"""When a tag has moved: the same name in the same repository, at another commit."""

import pytest

from components.pipeline.errors import RefError
from components.stack.release_record import Record, refuse_moved_tags

OLD, NEW = "1" * 40, "2" * 40
URL, OTHER = "git+https://git.example.org/app", "git+https://git.example.org/shop"


def tag(rev: str, **more: object) -> Record:
    return {"appRef": "v1", "appRefKind": "tag", "appRev": rev, "appUrl": URL, **more}


def test_a_tag_that_has_moved() -> None:
    with pytest.raises(RefError) as caught:
        refuse_moved_tags(tag(OLD), tag(NEW), accepted=None)
    assert str(caught.value) == (
        f"a tag has moved: appRef v1: it was last deployed as {OLD}, and is {NEW} now."
        f" find out who moved it; to deploy it anyway, `pulumi config set appRev {NEW}`"
    )


def test_a_host_with_its_own_ref() -> None:
    own = {"web1": {**tag(NEW), "appRef": "v0"}}
    before = {"web1": {**tag(OLD), "appRef": "v0"}}
    with pytest.raises(RefError, match="appRef v0"):
        refuse_moved_tags(tag(OLD, hosts=before), tag(OLD, hosts=own), accepted=None)


@pytest.mark.parametrize(
    ("old", "new", "accepted"),
    [
        (tag(OLD), tag(OLD), None),
        (tag(OLD), tag(NEW), NEW),
        (tag(OLD), tag(NEW, appRefKind="branch"), None),
        (tag(OLD, appRef="v0"), tag(NEW), None),
        (tag(OLD), tag(NEW, appUrl=OTHER), None),
        ({}, tag(NEW), None),
    ],
    ids=["unchanged", "accepted", "a branch", "another", "another repository", "the first"],
)
def test_what_has_not_moved(old: Record, new: Record, accepted: str | None) -> None:
    refuse_moved_tags(old, new, accepted)


def test_a_record_without_a_repository_is_of_the_same() -> None:
    """Earlier versions kept none."""
    before = {key: value for key, value in tag(OLD).items() if key != "appUrl"}
    with pytest.raises(RefError):
        refuse_moved_tags(before, tag(NEW), accepted=None)
