"""Error texts in the words of the released plugin, which is written in Go."""

from __future__ import annotations

import errno
import os
from typing import Final

from providers.sdk.errors import OperationError

_SHORT: Final = {
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
_PLANE: Final = 0xFFFF
_OUTPUT_KEPT: Final = 1 << 20
"""Bytes of output in an error; gRPC sends errors as headers, which have a limit of 16 MiB."""
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
    """The text as Go's %q prints it."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if char.isascii():
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _PLANE else f"\\U{code:08x}"


def reason(error: OSError) -> str:
    """What the system says, in lower case and without the number."""
    if error.errno is None:
        return str(error) or "i/o timeout"
    return _ERRNO.get(error.errno) or os.strerror(error.errno).lower()


def failed(why: str, command: str, output: bytes) -> OperationError:
    """The error of a command that did not end well: why, its text, all it printed."""
    left_out = max(0, len(output) - _OUTPUT_KEPT)
    note = f"[{left_out} bytes of output left out]\n" if left_out else ""
    return OperationError(f"{why}: running {quoted(command)}:\n{note}{text(output[left_out:])}")


def text(output: bytes | bytearray) -> str:
    """Output as text; bytes that are no UTF-8 cannot be in a message and are replaced."""
    return output.decode("utf-8", "replace")


def trimmed(output: bytes | bytearray) -> str:
    """Output as it is stored: without one trailing newline."""
    return text(output).removesuffix("\n")
