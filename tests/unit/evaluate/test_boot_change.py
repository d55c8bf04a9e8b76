"""Why a release needs a reboot, from the build texts that nixpkgs writes for a toplevel."""

import pytest

from components.pipeline.evaluate import derivation
from components.pipeline.evaluate.boot_change import boot_changes
from tests.unit.evaluate.derivations import Graph

STORE = "/nix/store/00000000000000000000000000000000"


def commands(
    kernel: str = "linux-6.12.58",
    initrd: str = "initrd-linux-6.12.58",
    modules: str = "linux-6.12.58-modules",
    dtbs: str = "",
    init: str = "systemd 2",
) -> str:
    """The build text of a toplevel (nixos/modules/system: top-level.nix, boot/kernel.nix)."""
    tree = f"ln -s {STORE}-{dtbs} $out/dtbs\n" if dtbs else ""
    return f"""mkdir $out

cp {STORE}-stage-2-init.sh $out/init
substituteInPlace $out/init --subst-var-by systemConfig $out

ln -s {STORE}-etc/etc $out/etc
ln -s "$systemd" $out/systemd
echo -n "{init}" > $out/init-interface-version
echo -n "$nixosLabel" > $out/nixos-version

if [ ! -f {STORE}-{kernel}/bzImage ]; then
  false
fi
ln -s {STORE}-{kernel}/bzImage $out/kernel
ln -s {STORE}-{modules} $out/kernel-modules
{tree}
echo -n "${{kernelParams[@]}}" > $out/kernel-params
ln -s {STORE}-{initrd}/initrd $out/initrd
"""


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    made = Graph()
    monkeypatch.setattr(derivation, "_cache", made.derivations)
    return made


@pytest.mark.parametrize(
    "name",
    [
        "linux-6.12.60", "linux-zen-6.12.58", "linux-hardened-6.12.58", "linux-latest",
        "linux-rpi-6.12.58-1.20250127", "linux-xanmod-6.12.58", "linux-asahi", "my-kernel",
    ],
)  # fmt: skip
def test_another_kernel(graph: Graph, name: str) -> None:
    old, new = graph.system(commands=commands()), graph.system(commands=commands(kernel=name))
    assert boot_changes(old, new) == ("kernel",)
    assert boot_changes(new, new) == ()


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"initrd": "initrd-linux-6.12.58-b"}, ("initrd",)),
        ({"modules": "linux-6.12.58-modules-b"}, ("kernel modules",)),
        ({"dtbs": "device-trees"}, ("device tree",)),
        ({"init": "systemd 3"}, ("init interface",)),
        ({"kernel": "a", "initrd": "b", "init": "c"}, ("kernel", "initrd", "init interface")),
        ({}, ()),
    ],
)
def test_reasons(graph: Graph, change: dict[str, str], reasons: tuple[str, ...]) -> None:
    old, new = graph.system(commands=commands()), graph.system(commands=commands(**change))
    assert boot_changes(old, new) == reasons
    assert boot_changes(new, old) == reasons


@pytest.mark.parametrize("form", ['{{"kernelParams":["quiet","{}"]}}', "quiet {}"])
def test_kernel_parameters(graph: Graph, form: str) -> None:
    key = "__json" if form.startswith("{") else "kernelParams"
    old, new = (
        graph.system(commands=commands(), **{key: form.format(one)}) for one in ("a=1", "a=2")
    )
    assert boot_changes(old, new) == ("kernel parameters",)


def test_a_kernel_that_only_a_build_needs(graph: Graph) -> None:
    """Tests and images in a build's inputs have kernels that this host does not boot."""
    old = graph.system(graph.add("linux-6.12.58"), commands=commands())
    new = graph.system(graph.add("linux-6.12.60"), commands=commands())
    assert boot_changes(old, new) == ()


def test_a_container_has_none(graph: Graph) -> None:
    text = 'echo -n "systemd 2" > $out/init-interface-version\n'
    old, new = graph.system(commands=text), graph.system(graph.add("x"), commands=text)
    assert boot_changes(old, new) == ()
    assert boot_changes(old, graph.system(commands=text.replace("2", "3"))) == ("init interface",)


def test_a_toplevel_whose_dependencies_are_replaced(graph: Graph) -> None:
    """It is made from the toplevel that has the commands (`system.replaceDependencies`)."""
    sides = [graph.system(commands=commands(kernel=one)) for one in ("a", "b")]
    old, new = (graph.system(side.drv_path.path, commands="# init-interface") for side in sides)
    assert boot_changes(old, new) == ("kernel",)
