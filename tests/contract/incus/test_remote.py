"""An Incus server over the network: mutual TLS, pins, and the errors."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.pipeline.config.incus import IncusSpec
from components.pipeline.errors import IncusError, IncusPinError, IncusUnavailableError
from components.pipeline.targets.incus import preflight
from components.pipeline.targets.incus.api import Incus, retry_through_restart
from components.pipeline.targets.incus.observed import list_instances
from components.pipeline.targets.incus.remote import Remote
from harness.daemons.incusd import Incusd, incusd
from harness.ports import free_port
from harness.providers.incus_driver import VOLUME, ResourceDriver
from harness.providers.plugin_driver import failing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["incusd"]
pytestmark = pytest.mark.contract
NAME = "rack2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The config folder of a user's client, whose remote `rack2` is the server."""

    folder: Path
    port: int

    @property
    def pinned(self) -> Path:
        return self.folder / "servercerts" / f"{NAME}.crt"


@pytest.fixture(scope="module")
def port(incusd: Incusd) -> int:
    """Where the daemon listens on the network."""
    number = free_port()
    incusd.request("PATCH", "/1.0", {"config": {"core.https_address": f"127.0.0.1:{number}"}})
    return number


@pytest.fixture(scope="module")
def trusted(incusd: Incusd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a client certificate that the server trusts, and its key."""
    folder = tmp_path_factory.mktemp("client")
    certificate(folder, "client")
    body = (folder / "client.crt").read_text().replace("-----BEGIN CERTIFICATE-----", "")
    body = "".join(body.replace("-----END CERTIFICATE-----", "").split())
    incusd.request(
        "POST", "/1.0/certificates", {"type": "client", "name": "c", "certificate": body}
    )
    return folder


@pytest.fixture
def client(
    incusd: Incusd, port: int, trusted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Client:
    for name in ("client.crt", "client.key"):
        shutil.copy(trusted / name, tmp_path / name)
    made = Client(folder=tmp_path, port=port)
    made.pinned.parent.mkdir()
    shutil.copy(incusd.folder / "d" / "server.crt", made.pinned)
    (tmp_path / "config.yml").write_text(
        f"remotes: {{{NAME}: {{addr: 'https://127.0.0.1:{port}', protocol: incus}}}}\n"
    )
    monkeypatch.setenv("INCUS_CONF", str(tmp_path))
    return made


def certificate(folder: Path, name: str) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f"{name}.key").write_bytes(private)


def short(certificate: Path) -> str:
    """The fingerprint of a certificate, as in messages."""
    return digest(certificate)[:12]


def digest(certificate: Path) -> str:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return found.fingerprint(hashes.SHA256()).hex()


async def with_query(pinned: str = "") -> dict[str, object]:
    async with Incus(Remote.find(NAME, pinned), "default") as incus:
        return dict(await retry_through_restart(incus, lambda: list_instances(incus)))


async def failure(kind: type[IncusError] = IncusError, pinned: str = "") -> str:
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        await with_query(pinned)
    assert time.monotonic() - began < 15, "an error that a retry cannot fix is raised at once"
    return str(caught.value)


@pytest.mark.usefixtures("client")
async def test_the_certificate_pinned_by_the_client() -> None:
    assert await with_query() == {}


async def test_the_fingerprint_pinned_by_the_stack(client: Client) -> None:
    pinned = digest(client.pinned)
    assert await with_query(pinned) == {}
    certificate(client.folder, "other")
    more = (client.folder / "other.crt").read_text()
    client.pinned.write_text(more + client.pinned.read_text())
    assert await with_query() == {}, "without a pin, a file may contain two"
    assert f"the client has {short(client.folder / 'other.crt')} " in await failure(pinned=pinned)


async def test_another_fingerprint_is_refused_before_any_connection(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client trusts it: its remote of that name is another server than the stack's."""
    other, good = "a" * 64, digest(client.pinned)
    text = await failure(IncusPinError, other)
    assert text == (
        f"not the stack's server: {NAME}: the client has {short(client.pinned)} ({client.pinned}), "
        "and `incus.fingerprints` in the config has aaaaaaaaaaaa. compare with `incus info` on the "
        "server (certificate_fingerprint): if this remote is another server, remove and add it "
        "again (`incus remote remove`, `add`); if the server has a new certificate, put its "
        "fingerprint into the config"
    )
    spec = IncusSpec(name="web1", remote=NAME, certificate=other)
    with pytest.raises(IncusPinError) as caught:
        preflight.check_fingerprints([None, spec])
    assert str(caught.value) == text, "the preflight refuses it as well"
    preflight.check_fingerprints([replace(spec, certificate=""), replace(spec, certificate=good)])
    closed = client.folder / "config.yml"
    closed.write_text(closed.read_text().replace(str(client.port), str(free_port())))
    assert await failure(IncusPinError, other) == text, "no connection was tried"
    client.pinned.unlink()
    monkeypatch.setenv("SSL_CERT_FILE", str(client.folder / "client.crt"))
    assert (await failure(pinned=other)).startswith(f"no certificate: {NAME}: {client.pinned} ")
    preflight.check_fingerprints([spec])


def test_the_provider_reports_a_pin_mismatch_and_a_new_pin_changes_nothing(
    incusd: Incusd, client: Client
) -> None:
    """A preview tolerates a server that is unavailable, but not one that is another."""
    place = {"remote": NAME, "project": "default"}
    inputs = {**place, "pool": "pool", "name": f"pinned-{client.port}"}
    pinned = {**inputs, "certificate": digest(client.pinned)}
    made = ResourceDriver(kind=VOLUME, socket=client.folder / "none")
    made.create(inputs)
    other = f"not the stack's server: {NAME}: the client has "
    with made.run() as plugin:
        assert made.diff_in(plugin, pinned).paths == set()
        made.inputs = made.inputs | pinned  # as the engine would
        with failing(other):
            made.diff_in(plugin, {**pinned, "certificate": "a" * 64})
        known, made.inputs = made.inputs, made.inputs | {"certificate": "a" * 64}
        assert made.diff_in(plugin, pinned).paths == set(), "the pin in the new inputs counts"
    with failing(other):
        made.delete()
    made.inputs = known
    made.delete()
    assert incusd.request("GET", "/1.0/storage-pools/pool/volumes/custom") == []


async def test_a_certificate_mismatch_is_refused_at_once(
    incusd: Incusd, client: Client, tmp_path: Path
) -> None:
    server = incusd.folder / "d" / "server.crt"
    certificate(tmp_path, "other")
    (tmp_path / "other.crt").replace(client.pinned)
    both = f"pinned {short(client.pinned)}, presented {short(server)}"
    text = (
        f"certificate mismatch: {NAME}: https://127.0.0.1:{client.port}: "
        f"self-signed certificate: {both}. find out why it changed before you pin the new one "
        f"in {client.pinned}"
    )
    assert await failure() == text
    also = f"{text} and `incus.fingerprints`"
    assert await failure(pinned=digest(client.pinned)) == also, (
        "the pins agree, and the server differs"
    )


@pytest.mark.parametrize("name", ["client.crt", "client.key", f"servercerts/{NAME}.crt"])
async def test_a_missing_certificate_is_named(client: Client, name: str) -> None:
    (client.folder / name).unlink()
    assert await failure() == (
        f"no certificate: {NAME}: {client.folder / name} does not exist. "
        f"make `incus list {NAME}:` work on this machine first"
    )


async def test_an_invalid_certificate(client: Client) -> None:
    (client.folder / "client.crt").write_text("nothing\n")
    text = await failure()
    assert text.startswith(f"no certificate: {NAME}: [SSL] PEM lib")
    assert text.endswith(f". make `incus list {NAME}:` work on this machine first")


async def test_an_untrusted_client(client: Client) -> None:
    certificate(client.folder, "client")
    assert await failure() == (
        f"permission denied by the server: {NAME}, project default: not authorized. "
        f"check that `incus list {NAME}: --project default` works here"
    )


async def test_an_unreachable_server(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.pipeline.process.retry.RESTART", 0.5)
    closed = free_port()
    (client.folder / "config.yml").write_text(
        f"remotes: {{{NAME}: {{addr: 'https://127.0.0.1:{closed}', protocol: incus}}}}\n"
    )
    assert await failure(IncusUnavailableError) == (
        f"cannot reach Incus: {NAME} (https://127.0.0.1:{closed}): All connection attempts failed. "
        f"check the network, and that `incus list {NAME}:` works for you"
    )
