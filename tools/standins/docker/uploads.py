"""Files that are put into a container before it starts."""

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

_PLAIN: Final = 0o644
_EXECUTABLE: Final = 0o744
_SOURCES: Final = ("content", "contentBase64", "source")


def archive(upload: Inputs) -> bytes:
    """A tar with one file, to be unpacked at the container's root.

    Raises:
        OperationError: nothing or too much is said of what is in the file.
    """
    content = _content(upload)
    told = upload.text("permissions", "")
    entry = tarfile.TarInfo(upload.text("file", ""))
    entry.mode = int(told, 8) if told else _EXECUTABLE if upload.flag("executable") else _PLAIN
    entry.size = len(content)
    entry.mtime = int(time.time())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _content(upload: Inputs) -> bytes:
    given = [name for name in _SOURCES if upload.text(name)]
    names = "'content', 'content_base64', or 'source'"
    if len(given) != 1:
        must = f"only one of {names} can be set" if given else f"one of {names} must be set"
        msg = f"error with upload content: {must}"
        raise OperationError(msg)
    text = upload.text(given[0], "")
    try:
        if given[0] == "contentBase64":
            return base64.b64decode(text, validate=True)
        return Path(text).read_bytes() if given[0] == "source" else text.encode()
    except binascii.Error as error:
        msg = f"error with upload content: {upload.text('file')}: it is no base64"
        raise OperationError(msg) from error
    except OSError as error:
        msg = f"could not read file: open {text}: {(error.strerror or '').lower()}"
        raise OperationError(msg) from error
