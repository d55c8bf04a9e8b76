"""Hosts as settings give them, for tests of what is done with them."""

from components.pipeline.config.activation import DEFAULTS, Activation
from components.pipeline.config.checks import Check, CheckKind, CheckOrigin
from components.pipeline.config.stack import HostSpec
from components.pipeline.values import (
    Attr,
    Duration,
    HostAddress,
    HostKey,
    Ref,
    StorePath,
    UserName,
)

HOST_KEY = HostKey.parse(
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
)
FINGERPRINT = HOST_KEY.fingerprint


def host(  # noqa: PLR0913 one for each key of a host that a test may care for
    name: str = "web1",
    *,
    address: str = "192.0.2.10",
    user: str = "root",
    port: int = 22,
    app_ref: str | None = None,
    activation: Activation = DEFAULTS,
) -> HostSpec:
    return HostSpec(
        name=name,
        address=HostAddress.parse(address),
        host_key=HOST_KEY,
        port=port,
        user=UserName.parse(user),
        attr=Attr.parse(name),
        app_ref=None if app_ref is None else Ref.parse(app_ref),
        activation=activation,
    )


def check(  # noqa: PLR0913 one for each key of a check that a test may care for
    name: str = "web",
    *,
    kind: CheckKind = CheckKind.HTTP,
    target: str = "http://localhost:8080/",
    origin: CheckOrigin = CheckOrigin.HOST,
    contains: str = "",
    header: str = "",
    retries: int = 0,
) -> Check:
    """A check that fails at its first bad answer, and is good at its first good one."""
    return Check(
        name=name,
        kind=kind,
        target=target,
        origin=origin,
        status=200,
        contains=contains,
        header=header,
        period=Duration("1s"),
        timeout=Duration("5s"),
        retries=retries,
        hold=Duration("0s"),
    )


def toplevel(letter: str, name: str = "web1") -> StorePath:
    """A store path that stands for a system; nothing is there."""
    return StorePath.parse(f"/nix/store/{letter * 32}-nixos-system-{name}-25.11")


def derivation(letter: str, name: str = "web1") -> StorePath:
    return StorePath.parse(f"/nix/store/{letter * 32}-nixos-system-{name}-25.11.drv")
