"""Hand-written `.drv` files of three systems of one host: data/derivations."""

from pathlib import Path

from components.pipeline.evaluate.attribute import EvaluatedAttr
from components.pipeline.evaluate.derivation import Derivation
from components.pipeline.values import StorePath

DATA = Path(__file__).parents[2] / "data" / "derivations"


def read_all() -> dict[str, Derivation]:
    """All of them, by their path in the store."""
    found = {}
    for file in DATA.glob("*.drv"):
        path = f"/nix/store/{file.name}"
        read = Derivation.read(str(file))
        found[path] = Derivation(path=path, inputs=read.inputs, text=read.text)
    return found


def _system(hashed: str) -> EvaluatedAttr:
    drv = StorePath.parse(f"/nix/store/{hashed}-nixos-system-web1-25.11.drv")
    out = StorePath.parse(f"/nix/store/{hashed}-nixos-system-web1-25.11")
    return EvaluatedAttr(attr="web1", drv_path=drv, out_path=out)


OLD = _system("yh2l6qawf0j4n8scyh2l6qawf0j4n80j")
"""App 1."""
NEW = _system("789abcdfghijklmnpqrsvwxyz0123411")
"""App 2, another openssl, every kind of unit change; the same kernel."""
REBOOT = _system("l0cq4hw8l0cq4hw8l0cq4hw8l0cq4h1c")
"""Another kernel, with other parameters."""
