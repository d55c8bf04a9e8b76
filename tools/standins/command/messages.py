"""Error messages worded like those of the released plugin, which is written in Go."""

from __future__ import annotations

import errno
import os
from typing import Final

from providers.sdk.errors import OperationError

_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_MAX_BMP: Final = 0xFFFF
_OUTPUT_LIMIT: Final = 1 << 20
"""Bytes of output in an error: gRPC sends errors as headers, which are limited to 16 MiB."""
_ERRNO: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by peer",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ENOENT: "no such file or directory",
    errno.EACCES: "permission denied",
    errno.EPIPE: "broken pipe",
    errno.E2BIG: "argument list too long",
    errno.ENOEXEC: "exec format error",
    errno.ENOTDIR: "not a directory",
}


def quoted(text: str) -> str:
    """Quote a string like Go's %q."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if char.isascii():
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _MAX_BMP else f"\\U{code:08x}"


def system_error(error: OSError) -> str:
    """The system's error message, in lower case and without the number."""
    if error.errno is None:
        return str(error) or "i/o timeout"
    return _ERRNO.get(error.errno) or os.strerror(error.errno).lower()


def failed(reason: str, command: str, output: bytes) -> OperationError:
    """The error of a failed command: the reason, the command, and what it printed."""
    omitted = max(0, len(output) - _OUTPUT_LIMIT)
    note = f"[{omitted} bytes of output omitted]\n" if omitted else ""
    return OperationError(f"{reason}: running {quoted(command)}:\n{note}{text(output[omitted:])}")


def text(output: bytes | bytearray) -> str:
    """Decode output; bytes that are not UTF-8 are replaced, since messages cannot contain them."""
    return output.decode("utf-8", "replace")


def trimmed(output: bytes | bytearray) -> str:
    """Output as the state records it: without one trailing newline."""
    return text(output).removesuffix("\n")
