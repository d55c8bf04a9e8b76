"""How attributes are written for nix and for people."""

import pytest

from components.pipeline.evaluate import attribute as attributes
from components.pipeline.evaluate.attribute import Attribute, HostSystem, IncusImage, ServiceImage
from components.pipeline.values import Attr, AttrPath

ARM = "aarch64-linux"
DOMAIN = Attr("web-1.example.com")


@pytest.mark.parametrize(
    ("attribute", "name", "display", "installable", "siblings"),
    [
        (
            HostSystem(DOMAIN),
            "web-1.example.com",
            'nixosConfigurations."web-1.example.com"',
            'nixosConfigurations."web-1.example.com"',
            "nixosConfigurations",
        ),
        (
            IncusImage(Attr("base")),
            "base",
            "nixosConfigurations.base",
            'nixosConfigurations."base"',
            "nixosConfigurations",
        ),
        (
            ServiceImage(ARM, AttrPath.parse("app")),
            "app",
            "packages.aarch64-linux.app",
            'packages."aarch64-linux"."app"',
            'packages."aarch64-linux"',
        ),
        (
            ServiceImage(ARM, AttrPath.parse('images."web.1"')),
            'images."web.1"',
            'packages.aarch64-linux.images."web.1"',
            'packages."aarch64-linux"."images"."web.1"',
            'packages."aarch64-linux"."images"',
        ),
    ],
)
def test_each_name_is_quoted_for_nix_and_only_where_needed_for_people(
    attribute: Attribute, name: str, display: str, installable: str, siblings: str
) -> None:
    assert attribute.name == name
    assert attributes.display_path(attribute) == display
    assert attributes.installable(attribute, "path:/f") == f"path:/f#{installable}"
    assert attributes.siblings(attribute, "path:/f") == f"path:/f#{siblings}"


def test_what_was_meant_is_named_as_the_config_takes_it() -> None:
    package = ServiceImage(ARM, AttrPath.parse("images.wbe"))
    assert attributes.next_to(HostSystem(DOMAIN), "web-2.example.com") == "web-2.example.com"
    assert attributes.next_to(package, "web") == "images.web"
    assert attributes.next_to(package, "web.1") == 'images."web.1"'
    assert attributes.next_to(package, "no name") == "no name"
