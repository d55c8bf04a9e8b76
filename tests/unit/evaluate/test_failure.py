"""What a failed evaluation says: texts as nix 2.26 and 2.34 print them."""

import pytest

from components.pipeline.errors import ELLIPSIS
from components.pipeline.evaluate import failure
from components.pipeline.evaluate.attribute import HostSystem, IncusImage, ServiceImage
from components.pipeline.values import Attr, AttrPath

TRACE = """\
warning: Git tree '/srv/infra' is dirty
error:
       … while evaluating attribute 'builds'
         at «string»:1:7:
            1| it: { builds = map (path: { drv = path.drvPath; }) [ (it.config) ]; }
             |       ^

       … while evaluating list element at index 0
         at «string»:1:7:
            1| it: { builds = map (path: { drv = path.drvPath; }) [ (it.config) ]; }
             |       ^

       (stack trace truncated; use '--show-trace' to show the full, detailed trace)

"""
ASSERTIONS = "\n".join(f"       - assertion {number} is wrong" for number in range(40))


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        pytest.param(
            f"{TRACE}       error:\n       Failed assertions:\n{ASSERTIONS}",
            "Failed assertions:\n" + "\n".join(f"- assertion {n} is wrong" for n in range(40)),
            id="failed assertions",
        ),
        pytest.param(
            f"{TRACE}       error: Failed assertions:\n       - one", "Failed assertions:\n- one",
            id="with a blank",
        ),
        pytest.param(
            "error: this host does not evaluate\nerror: another", "this host does not evaluate"
            "\nerror: another", id="no trace",
        ),
        pytest.param(
            f"{TRACE}       error: assertion failed: the text\n       error: has such a line",
            "assertion failed: the text\nerror: has such a line", id="error in the reason",
        ),
        pytest.param(
            f"{TRACE}       error: undefined variable 'x'\n       at /nix/store/a/flake.nix:3:5:\n"
            "            2|   y = 1;\n            3|     x\n             |     ^",
            "undefined variable 'x'\nat /nix/store/a/flake.nix:3:5:\n     2|   y = 1;\n"
            "     3|     x\n      |     ^",
            id="a position in the flake",
        ),
        pytest.param(
            f"{TRACE}       error: attribute 'toplevel' missing\n       at «string»:1:75:\n"
            "            1| it: { builds = map (path: path.drvPath) [ (it.config) ]; }\n"
            "             |                ^\n       Did you mean topLevel?",
            "attribute 'toplevel' missing\nDid you mean topLevel?", id="a position in our own text",
        ),
        pytest.param("no such file", "", id="no error"),
    ],
)  # fmt: skip
def test_the_reason(printed: str, reason: str) -> None:
    assert failure.reason(printed) == reason


def test_a_long_reason_is_shown_from_its_beginning() -> None:
    many = "\n".join(f"       - assertion {number} is wrong" for number in range(100))
    shown = failure.reason(f"{TRACE}       error:\n       Failed assertions:\n{many}").splitlines()
    assert shown[:2] == ["Failed assertions:", "- assertion 0 is wrong"]
    assert shown[-1] == f"{ELLIPSIS} and 41 more lines"
    long = failure.reason(f"error: begins{'x' * 100_000}")
    assert long.startswith("beginsxxx")
    assert len(long) < 10_000


def test_a_reason_is_printable() -> None:
    assert failure.reason("error: a\x1b[2Jb") == "a\\x1b[2Jb"


@pytest.mark.parametrize("name", ["metadata", "squashfs"])
def test_a_system_that_is_no_image(name: str) -> None:
    printed = f"{TRACE}       error: attribute '{name}' missing\n       at «string»:1:75:\n"
    assert str(failure.missing_attribute(IncusImage(Attr("web1")), printed)) == (
        f"not an Incus image: web1: nixosConfigurations.web1 has no config.system.build.{name}."
        " import NixOS's lxc-container.nix in it, or name another `image`"
    )


@pytest.mark.parametrize(
    ("name", "lacks"), [("toplevel", "config.system.build.toplevel"), ("config", "config")]
)
def test_what_is_no_system(name: str, lacks: str) -> None:
    printed = f"{TRACE}       error: attribute '{name}' missing\n       at «string»:1:75:\n"
    assert str(failure.missing_attribute(HostSystem(Attr("web1")), printed)) == (
        f"not a NixOS system: web1: nixosConfigurations.web1 has no {lacks}."
        " make it with nixpkgs.lib.nixosSystem, or set `attr` of the host"
    )


def test_an_attribute_that_is_missing_in_the_flake_itself() -> None:
    printed = f"{TRACE}       error: attribute 'config' missing\n       at /nix/store/a.nix:1:75:\n"
    assert failure.missing_attribute(HostSystem(Attr("web1")), printed) is None


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (
            {"drv": None, "out": None, "outputs": []},
            (
                "not a derivation: app: packages.x86_64-linux.app is something else, such as a set"
                " of packages. set `image` of the service to the name of a derivation"
            ),
        ),
        (
            {"drv": "/nix/store/a.drv", "out": "/nix/store/a-bin", "outputs": ["bin", "dev"]},
            (
                "no output out: app: packages.x86_64-linux.app has the outputs bin, dev, and none"
                " of them is out. set `image` of the service to one that has it, or add out to its"
                " outputs"
            ),
        ),
        (
            {"drv": "/nix/store/a.drv", "out": "/1wig78v1", "outputs": ["out"]},
            (
                "no store path before the build: app: packages.x86_64-linux.app, or what it is"
                " built from, is content-addressed or impure. a release needs paths that are known"
                " from evaluation: build it without `__contentAddressed`"
                " (`contentAddressedByDefault` of nixpkgs) and `__impure`"
            ),
        ),
    ],
)
def test_what_has_no_known_store_path(paths: dict[str, object], expected: str) -> None:
    assert (
        str(failure.unusable(ServiceImage("x86_64-linux", AttrPath.parse("app")), paths))
        == expected
    )
