"""Files that are copied into a container before it starts."""

from __future__ import annotations

import base64
import binascii
import io
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from providers.sdk.errors import OperationError

if TYPE_CHECKING:
    from providers.sdk.inputs import Inputs

_REGULAR_MODE: Final = 0o644
_EXECUTABLE_MODE: Final = 0o744
_SOURCES: Final = ("content", "contentBase64", "source")


def archive(upload: Inputs) -> bytes:
    """A tar archive of one file, to be extracted at the container's root.

    Raises:
        OperationError: its content is given by none, or more than one, of the three inputs.
    """
    content = _content(upload)
    mode = upload.string("permissions", "")
    entry = tarfile.TarInfo(upload.string("file", ""))
    entry.mode = (
        int(mode, 8)
        if mode
        else _EXECUTABLE_MODE
        if upload.boolean("executable")
        else _REGULAR_MODE
    )
    entry.size = len(content)
    entry.mtime = int(time.time())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _content(upload: Inputs) -> bytes:
    given = [name for name in _SOURCES if upload.string(name)]
    names = "'content', 'content_base64', or 'source'"
    if len(given) != 1:
        must = f"only one of {names} can be set" if given else f"one of {names} must be set"
        msg = f"error with upload content: {must}"
        raise OperationError(msg)
    text = upload.string(given[0], "")
    try:
        if given[0] == "contentBase64":
            return base64.b64decode(text, validate=True)
        return Path(text).read_bytes() if given[0] == "source" else text.encode()
    except binascii.Error as error:
        msg = f"error with upload content: {upload.string('file')}: it is not base64"
        raise OperationError(msg) from error
    except OSError as error:
        msg = f"could not read file: open {text}: {(error.strerror or '').lower()}"
        raise OperationError(msg) from error
