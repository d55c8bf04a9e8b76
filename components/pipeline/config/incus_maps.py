"""Lists and maps of an instance as configured: profiles, config and devices."""

from collections.abc import Mapping
from typing import Final

from ..values import InvalidValue
from ..values.names import check_characters
from .incus_volumes import parse_name
from .schema import Key
from .section import Section, is_too_large

MAX_PROFILES: Final = 32
MAX_CONFIG: Final = 64
MAX_DEVICES: Final = 32
_CONFIG_KEY: Final = "A-Za-z0-9._-"


def read_profiles(section: Section, key: Key) -> tuple[str, ...] | None:
    """Read the list of profiles."""
    value = section.values[key.name]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        section.reject(key.name, "is not a list of names")
        return None
    if is_too_large(section, key.name, value, MAX_PROFILES, "items"):
        return None
    for one in value:
        try:
            parse_name(one)
        except InvalidValue as error:
            section.reject(key.name, f"has a name that {error.reason()}")
            return None
    return tuple(value)


def read_config(section: Section, key: Key) -> dict[str, str] | None:
    """Read the map of an instance's own config."""
    values = section.read_map(key.name)
    if values is None or is_too_large(section, key.name, values, MAX_CONFIG, "keys"):
        return None
    return _texts(section, key.name, values)


def read_devices(section: Section, key: Key) -> dict[str, dict[str, str]] | None:
    """Read the map of devices, each with its type."""
    values = section.read_map(key.name)
    if values is None or is_too_large(section, key.name, values, MAX_DEVICES, "devices"):
        return None
    devices = {}
    for name, device in values.items():
        if not isinstance(device, Mapping) or not isinstance(device.get("type"), str):
            section.reject(key.name, f"has {name}, which is not a map with a type")
            continue
        devices[name] = _texts(section, key.name, device)
    return devices


def _texts(section: Section, name: str, values: Mapping[str, object]) -> dict[str, str]:
    """Give the keys and texts in what the key `name` holds; the other ones are reported."""
    texts = {}
    for key, text in values.items():
        try:
            check_characters(key, _CONFIG_KEY, limit=128)
        except InvalidValue as error:
            section.reject(name, f"has a key that {error.reason()}")
            continue
        if not isinstance(text, str):
            section.reject(name, f"has {key}, whose value is not text", "put that value in quotes")
        elif any(not char.isprintable() and char != "\n" for char in text):
            section.reject(name, f"has {key}, whose value has a control character")
        else:
            texts[key] = text
    return texts
