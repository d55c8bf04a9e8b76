"""The secrets of a service as configured: each is a Pulumi secret, and becomes a file."""

import posixpath
import re
from collections.abc import Mapping
from typing import Final

from ..values import InvalidValue
from .section import Section, path_to

FOLDER: Final = "/run/secrets"
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
MAX_BYTES: Final = 500 * 1024
"""Of one secret: Docker's own limit."""


class ClearText(str):
    """A secret that is in the stack's file as it is."""

    __slots__ = ()


def check_content(text: str) -> None:
    """Refuse what cannot be the content of a file here, by InvalidValue."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        msg = "is not text in UTF-8"
        raise InvalidValue(msg) from None
    if not size:
        msg = "is empty"
        raise InvalidValue(msg)
    if size > MAX_BYTES:
        msg = f"is more than {MAX_BYTES // 1024} KiB"
        raise InvalidValue(msg)


def check_secrets(
    section: Section, service: str, secrets: Mapping[str, str], volumes: Mapping[str, str]
) -> None:
    """Reject secrets that are not encrypted, and volumes that would hide them."""
    for name, text in secrets.items():
        # If nothing in the services is a secret, neither is this.
        if not section.hidden or isinstance(text, ClearText):
            remedy = f"run: pulumi config set --secret --path {_argument(service, name)}"
            section.reject("secrets", f"has {name}, which is in clear text", remedy)
    for volume, path in volumes.items() if secrets else ():
        if f"{posixpath.normpath(path)}/".startswith(f"{FOLDER}/"):
            why = f"has {volume}: {path}, where the secrets are"
            section.reject("volumes", why, "write another path")


def _argument(service: str, name: str) -> str:
    """The place of a secret in the config, as a person types it."""
    place = path_to(path_to(path_to("services", service), "secrets"), name)
    return f"'{place}'" if '"' in place else place


def mark_clear_text(services: object, file: object) -> object:
    """Give the services, with those secrets as `ClearText` that a stack's file has in clear text.

    `file` is what the file has under the key of `services`. The engine only says that there is a
    secret somewhere in a map; the file says which texts are not encrypted.
    """
    if not isinstance(services, Mapping):
        return services
    return {name: _mark(service, _map(file).get(name)) for name, service in services.items()}


def _mark(service: object, in_file: object) -> object:
    if not isinstance(service, Mapping) or not isinstance(service.get("secrets"), Mapping):
        return service
    # What is encrypted there is a map, whose one key is `secure`.
    clear = {
        name: str(value)
        for name, value in _map(_map(in_file).get("secrets")).items()
        if isinstance(value, str | int)
    }
    secrets = {
        name: ClearText(value) if clear.get(name) == str(value) else value
        for name, value in service["secrets"].items()
    }
    return {**service, "secrets": secrets}


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
