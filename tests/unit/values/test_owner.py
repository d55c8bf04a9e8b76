"""Whose the things on a daemon are: labels, and what counts as the same name."""

import pytest

from components.pipeline.values import InvalidValue, Owner
from components.pipeline.values.owner import is_named, take_over

URN = "urn:pulumi:prod::shop::flakeup:index:Fleet$flakeup:incus:Image::base-image"


def test_a_label_is_the_name_and_an_id() -> None:
    made = Owner.new("shop/prod")
    assert made.text == f"shop/prod/{made.id}"
    assert len(made.id) == 16
    assert Owner.parse(made.text) == made
    assert (made.name, made.stack) == ("shop/prod", "prod")


def test_two_stacks_of_one_name_are_two_owners() -> None:
    assert Owner.new("shop/prod") != Owner.new("shop/prod")


def test_a_resource_names_its_stack_alone() -> None:
    assert Owner.of_urn(URN) == Owner.parse("shop/prod") == Owner(name="shop/prod")
    assert Owner.of_urn(URN).text == "shop/prod"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prod",
        "shop/",
        "/prod",
        "shop/prod/",
        "shop/prod/A",
        "shop/prod/a/b",
        f"shop/prod/{'a' * 41}",
        f"{'a' * 101}/prod",
        "-shop/prod",
        "shop/prod;reboot",
        "shop/prod\n",
        "shop/prod/1 2",
    ],
)
def test_other_texts_are_no_owner(text: str) -> None:
    with pytest.raises(InvalidValue):
        Owner.parse(text)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("shop/prod", True),
        ("shop/prod/5f3a", True),
        ("shop/prod2", False),
        ("shop/prod2/5f3a", False),
        ("shop", False),
        ("", False),
        ("other/shop/prod", False),
    ],
)
def test_a_stack_of_the_same_name(label: str, *, expected: bool) -> None:
    assert is_named(label, "shop/prod") is expected


def test_a_label_that_is_no_owner_is_in_no_command() -> None:
    command = "`pulumi config set owner shop/prod/5f3a` takes over all that has this label"
    assert take_over("shop/prod/5f3a") == command
    assert take_over("shop/prod/`reboot`") == "change its label"
