"""The secrets of a service as configured: which texts are files under /run/secrets."""

import posixpath
import re
from collections.abc import Mapping
from typing import Final

from ..values import InvalidValue
from .section import Section, path_to

FOLDER: Final = "/run/secrets"
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
MOST: Final = 500 * 1024
"""Bytes of one: Docker's own limit."""


class Clear(str):
    """A secret that stands in the stack's file as it is."""

    __slots__ = ()


def check(text: str) -> None:
    """Refuse what cannot be the content of a file here."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        msg = "is no text in UTF-8"
        raise InvalidValue(msg) from None
    if not size:
        msg = "is empty"
        raise InvalidValue(msg)
    if size > MOST:
        msg = f"is more than {MOST // 1024} KiB"
        raise InvalidValue(msg)


def refuse(
    one: Section, service: str, secrets: Mapping[str, str], volumes: Mapping[str, str]
) -> None:
    """Refuse secrets that are none, and volumes that would hide them."""
    for name, text in secrets.items():
        # Where nothing of all services is a secret, this is none.
        if not one.hidden or isinstance(text, Clear):
            remedy = f"run: pulumi config set --secret --path {_argument(service, name)}"
            one.refuse("secrets", f"has {name}, which is in clear text", remedy)
    for volume, path in volumes.items() if secrets else ():
        if f"{posixpath.normpath(path)}/".startswith(f"{FOLDER}/"):
            why = f"has {volume}: {path}, where the secrets are"
            one.refuse("volumes", why, "write another path")


def _argument(service: str, name: str) -> str:
    """The place of a secret in the config, as a person types it."""
    place = path_to(path_to(path_to("services", service), "secrets"), name)
    return f"'{place}'" if '"' in place else place


def marked(services: object, written: object) -> object:
    """The services, with those secrets as `Clear` that a stack's file has in clear text.

    `written` is what the file has under the key of `services`. The engine says no more than that
    there is a secret somewhere in a map; the file says which texts are none.
    """
    if not isinstance(services, Mapping):
        return services
    return {name: _marked(one, _map(written).get(name)) for name, one in services.items()}


def _marked(service: object, written: object) -> object:
    if not isinstance(service, Mapping) or not isinstance(service.get("secrets"), Mapping):
        return service
    # What is encrypted there is a map, whose one key is `secure`.
    plain = {
        name: str(value)
        for name, value in _map(_map(written).get("secrets")).items()
        if isinstance(value, str | int)
    }
    secrets = {
        name: Clear(value) if plain.get(name) == str(value) else value
        for name, value in service["secrets"].items()
    }
    return {**service, "secrets": secrets}


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
