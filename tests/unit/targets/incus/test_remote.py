"""The server that a remote's name stands for on this machine, for this user."""

import base64
import ssl
from pathlib import Path

import pytest

from components.pipeline.errors import IncusError, IncusPinError
from components.pipeline.targets.incus import certificate
from components.pipeline.targets.incus.remote import Remote

CONFIG = """
default-remote: rack2
remotes:
  images: {addr: "https://images.linuxcontainers.org", protocol: simplestreams, public: true}
  plain: {addr: "http://10.0.0.1:8080", protocol: incus}
  rack2: {addr: "https://rack2.example.org:8443/", auth_type: tls, project: shop, protocol: incus}
  old: {addr: "https://old.example.org:8443"}
  here: {addr: "unix://"}
  there: {addr: "unix:///run/other/unix.socket", protocol: incus}
  slashless: {addr: "unix:/run/other/unix.socket"}
  broken: nothing
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client's config folder in INCUS_CONF, without anything of the user's."""
    for name in ("INCUS_SOCKET", "INCUS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INCUS_CONF", str(tmp_path))
    (tmp_path / "config.yml").write_text(CONFIG)
    return tmp_path


def test_local_is_this_machine_whatever_the_client_knows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config.yml").unlink()
    assert Remote.find("local").socket == Path("/var/lib/incus/unix.socket")
    monkeypatch.setenv("INCUS_DIR", "/srv/incus")
    assert Remote.find("local").socket == Path("/srv/incus/unix.socket")
    monkeypatch.setenv("INCUS_SOCKET", "/run/proxy")
    assert Remote.find("local").socket == Path("/run/proxy")


def test_a_remote_has_the_certificates_of_the_clients_folder(folder: Path) -> None:
    assert Remote.find("rack2") == Remote(
        name="rack2",
        url="https://rack2.example.org:8443",
        client=(folder / "client.crt", folder / "client.key"),
        server=folder / "servercerts" / "rack2.crt",
    )
    assert Remote.find("old").url == "https://old.example.org:8443"


def test_without_incus_conf_the_folder_is_the_users(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".config" / "incus").mkdir(parents=True)
    (folder / "config.yml").rename(folder / ".config" / "incus" / "config.yml")
    monkeypatch.delenv("INCUS_CONF")
    monkeypatch.setenv("HOME", str(folder))
    found = Remote.find("rack2").server
    assert found == folder / ".config" / "incus" / "servercerts" / "rack2.crt"


@pytest.mark.parametrize(
    ("name", "socket"),
    [
        ("here", "/var/lib/incus/unix.socket"),
        ("there", "/run/other/unix.socket"),
        ("slashless", "/run/other/unix.socket"),
    ],
)
def test_a_remote_may_be_a_socket(name: str, socket: str) -> None:
    assert Remote.find(name).socket == Path(socket)


def refused(name: str) -> str:
    with pytest.raises(IncusError) as caught:
        Remote.find(name)
    return str(caught.value)


@pytest.mark.parametrize("name", ["rack3", "broken"])
def test_an_unknown_remote(name: str) -> None:
    known = "broken, here, images, local, old, plain, rack2, slashless, there"
    assert refused(name) == (
        f"unknown remote: {name}: the client on this machine knows {known}. "
        f"add it with `incus remote add {name} https://HOST:8443`"
    )


@pytest.mark.parametrize("name", ["local", "there"])
def test_a_socket_has_no_certificate_to_pin(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCUS_SOCKET", "/run/other/unix.socket")
    with pytest.raises(IncusPinError) as caught:
        Remote.find(name, "a" * 64)
    assert str(caught.value) == (
        f"no certificate to pin: {name}: here it is a Unix socket (/run/other/unix.socket), which "
        "presents no certificate. add it by its address (`incus remote add`), or "
        "remove it from `incus.fingerprints`"
    )


@pytest.mark.parametrize("size", [300, 301, 302])
def test_of_several_certificates_the_first_counts(folder: Path, size: int) -> None:
    """Each size has another base64 padding, and so another form of the concatenation."""
    first, second = (ssl.DER_cert_to_PEM_cert(bytes([one]) * size) for one in (1, 2))
    file = folder / "both.crt"
    file.write_text(f"# of rack2\n{first}{second}")
    assert certificate.read(file) == bytes([1]) * size


def test_a_file_without_a_certificate_is_named(folder: Path) -> None:
    file = folder / "none.crt"
    file.write_text(base64.b64encode(b"nothing").decode())
    with pytest.raises(ValueError, match=f"{file} contains no certificate"):
        certificate.read(file)


def test_a_remote_that_is_not_an_incus_server() -> None:
    assert refused("images") == (
        "not an Incus server: images: its protocol is simplestreams, at "
        "https://images.linuxcontainers.org. use a remote of an Incus server (`incus remote list`)"
    )
    assert refused("plain") == (
        "not an Incus server: plain: its protocol is incus, at http://10.0.0.1:8080. "
        "use a remote of an Incus server (`incus remote list`)"
    )


def test_a_client_without_a_config_knows_only_local(folder: Path) -> None:
    (folder / "config.yml").unlink()
    assert refused("rack2").startswith(
        "unknown remote: rack2: the client on this machine knows local. "
    )
    (folder / "config.yml").write_text("")
    assert refused("rack2").startswith(
        "unknown remote: rack2: the client on this machine knows local. "
    )
    (folder / "config.yml").write_text("remotes: [1]\n")
    assert refused("rack2").startswith(
        "unknown remote: rack2: the client on this machine knows local. "
    )


@pytest.mark.parametrize("text", ["remotes: {", "- 1\n"])
def test_a_config_that_cannot_be_read(folder: Path, text: str) -> None:
    (folder / "config.yml").write_text(text)
    assert refused("rack2").startswith(f"cannot read: {folder / 'config.yml'}: ")
    assert refused("rack2").endswith("check that `incus remote list` works")
