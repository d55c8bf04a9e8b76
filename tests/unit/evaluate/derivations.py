"""Derivations without nix: hand-written `.drv` files (data/derivations), and a test's own."""

import hashlib
from collections.abc import Iterable, Mapping
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


class Graph:
    """Derivations by their path, as `derivation._cache` has them."""

    def __init__(self) -> None:
        self.derivations: dict[str, Derivation] = {}

    def add(
        self, name: str, inputs: Iterable[str] = (), variables: Mapping[str, str] | None = None
    ) -> str:
        """Add a derivation as nix writes it; returns its path."""
        listed = ",".join(f'("{path}",["out"])' for path in sorted(inputs))
        sorted_variables = sorted({**(variables or {}), "name": name}.items())
        pairs = ",".join(f'("{key}","{_escaped(value)}")' for key, value in sorted_variables)
        text = f'Derive([("out","","","")],[{listed}],[],"x86_64-linux","/bin/sh",["-e"],[{pairs}])'
        digest = hashlib.sha256(text.encode()).hexdigest()[:32].replace("e", "g")
        path = f"/nix/store/{digest}-{name}.drv"
        self.derivations[path] = Derivation(path=path, inputs=frozenset(inputs), text=text)
        return path

    def unit(self, name: str, text: str) -> str:
        """The derivation of a unit, as nixpkgs' makeUnit writes it."""
        safe = name.replace("@", "-").replace("\\", "-").replace("/", "-")
        commands = (
            f'name={name.replace(chr(92), chr(92) * 2)}\nmkdir -p "$out/$(dirname -- "$name")"\n'
        )
        variables = {
            "text": text,
            "passAsFile": "text",
            "buildCommand": commands + 'mv "$textPath" "$out/$name"\n',
        }
        return self.add(f"unit-{safe}", variables=variables)

    def tree(self, units: Iterable[str], links: Iterable[tuple[str, str]] = ()) -> str:
        """`system-units` of these derivations; `links`: a unit, and the unit that wants it."""
        lines = [
            f"mkdir -p $out/'{by}.wants'\nln -sfn '../{unit}' $out/'{by}.wants'/\n"
            for unit, by in links
        ]
        return self.add("system-units", units, {"buildCommand": "".join(lines)})

    def system(self, *inputs: str, commands: str = "", **variables: str) -> EvaluatedAttr:
        """A toplevel; each gets an `etc` that has its inputs."""
        etc = self.add("etc", inputs)
        written = 'echo -n "systemd 2" > $out/init-interface-version\n'
        path = self.add(
            "nixos-system-web1-25.11", (etc,),
            {"buildCommand": commands if "init-interface" in commands else commands + written}
            | variables,
        )  # fmt: skip
        return EvaluatedAttr(
            attr="web1",
            drv_path=StorePath.parse(path),
            out_path=StorePath.parse(path.removesuffix(".drv")),
        )

    def system_of(
        self, units: Mapping[str, str], links: Iterable[tuple[str, str]] = ()
    ) -> EvaluatedAttr:
        """A toplevel with these units."""
        return self.system(
            self.tree([self.unit(name, text) for name, text in units.items()], links)
        )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


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
