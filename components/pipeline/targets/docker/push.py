"""An image to a registry, with skopeo, under a name that evaluation knows; and its digest.

The name's tag is the hash of the store path: a name that is there already is the right image, and
nothing is pushed. skopeo keeps the layers that the registry has.
"""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...config.registry import Registry
from ...errors import ProcessError, RegistryError, message, printable
from ...process import run
from ...process.run import Argv
from . import image, login
from .decompress import plain

PUSH_TIMEOUT: Final = 3600.0
ASK_TIMEOUT: Final = 60.0
SKOPEO: Final = ("skopeo", "--insecure-policy")
"""What images may be used is Docker's affair: this one is the release's own."""
RETRIES: Final = ("--retry-times", "2")
CUTS: Final = 2
"""Times that we begin again where skopeo does not."""
PAUSE: Final = 1.0
_CUT_IN_WRITING: Final = re.compile("use of closed network connection|broken pipe")
"""The end of a connection that its `--retry-times` does not know (containers/common, pkg/retry)."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_FATAL: Final = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What of skopeo's words it is known by, and what a person can do."""

    known_by: re.Pattern[str]
    what: str
    remedy: str


_AWAY: Final = _Trouble(
    re.compile(
        "connection refused|no such host|no route to host|network is unreachable|i/o timeout"
        "|handshake timeout|deadline exceeded|no end after|server misbehaving"
    ),
    "cannot reach the registry",
    "check docker.registry.address, and that it answers; then run `pulumi up` again",
)
_REFUSED: Final = _Trouble(
    re.compile(
        "unauthorized|authentication required|invalid username/password|access .* denied|denied:"
        "|invalid status code .*: 40[13]|status: 40[13]"
    ),
    "the registry refused the login",
    "set docker.registry.username and password, or log in with `skopeo login`, as somebody who may "
    "push there",
)
_PLAIN: Final = _Trouble(
    re.compile("gave HTTP response to HTTPS client"),
    "the registry speaks plain http",
    "give it TLS: plain http is only for a registry on this machine",
)
_UNTRUSTED: Final = _Trouble(
    re.compile("x509:|certificate"),
    "the registry's certificate is not trusted",
    "put its authority's into /etc/containers/certs.d/HOST, or among those of this machine",
)
_MISSING: Final = _Trouble(
    re.compile("skopeo (is not installed|may not be executed)"),
    "cannot push an image",
    "install skopeo, or remove docker.registry",
)
_CUT: Final = _Trouble(
    re.compile(""), "the push failed", "`pulumi up` again sends only what is missing"
)
_LOGINS: Final = _Trouble(
    re.compile("reading JSON file|getting username and password"),
    "no list of logins",
    "mend or remove that file, or set docker.registry.username and password",
)
_BEFORE_A_PUSH: Final = (_MISSING, _LOGINS, _PLAIN, _UNTRUSTED, _AWAY)
"""Troubles that a push would meet as well; a login that may not look may still push."""
_ALL: Final = (*_BEFORE_A_PUSH, _REFUSED, _CUT)


async def pushed(built: Path, ref: str, registry: Registry, say: Callable[[str], None]) -> str:
    """Have the image in the registry under the name `ref`; gives its digest.

    Raises:
        DockerError: it is no image.
        RegistryError: it cannot be pushed, and why.
    """
    with login.auth_file(registry) as words:
        if found := await _there(ref, registry, words):
            return found
        with tempfile.TemporaryDirectory(prefix="flakeup-push-") as folder:
            file = Path(folder) / "digest"
            options = (*words, *RETRIES, *_tls("--dest-tls-verify", registry))
            options = (*options, "--quiet", "--digestfile", str(file))
            try:
                await _push(built, ref, options, say)
            except ProcessError as error:
                raise _told(error, ref, registry, _ALL) from error
            return _digest(file, ref)


async def _push(built: Path, ref: str, options: Argv, say: Callable[[str], None]) -> None:
    async with image.archive_of(built, say) as archive, plain(archive) as readable:
        say(f"pushing the image, {archive.stat().st_size / 1e6:.0f} MB and less")
        # Compressed here first: only so is known which layers the registry has already.
        words = ("copy", "--dest-precompute-digests", *options, "--")
        ends = (f"docker-archive:{readable}", f"docker://{ref}")
        await _steadily((*SKOPEO, *words, *ends))


async def _steadily(push: Argv) -> None:
    """A push, and again what it has not sent where the connection was cut."""
    for cuts in range(CUTS + 1):
        try:
            await run.run(push, timeout=PUSH_TIMEOUT)
        except ProcessError as error:
            if cuts == CUTS or not _CUT_IN_WRITING.search(_said(error)):
                raise
            await asyncio.sleep(PAUSE)
        else:
            return


async def _there(ref: str, registry: Registry, words: Argv) -> str:
    """The digest of what has this name in the registry, or nothing."""
    options = ("inspect", "--raw", *words, *_tls("--tls-verify", registry))
    try:
        found = await run.run((*SKOPEO, *options, "--", f"docker://{ref}"), timeout=ASK_TIMEOUT)
    except ProcessError as error:
        if any(trouble.known_by.search(_said(error)) for trouble in _BEFORE_A_PUSH):
            raise _told(error, ref, registry, _BEFORE_A_PUSH) from error
        return ""
    return f"sha256:{hashlib.sha256(found.stdout).hexdigest()}"


def _tls(option: str, registry: Registry) -> Argv:
    """Only on this machine may a registry have no TLS, or no certificate that is worth anything."""
    return (f"{option}={'false' if registry.is_here else 'true'}",)


def _digest(file: Path, ref: str) -> str:
    text = file.read_text(encoding="ascii", errors="replace").strip() if file.is_file() else ""
    if not _DIGEST.fullmatch(text):
        detail, remedy = "skopeo did not say its digest", "use skopeo 1.6 or later"
        raise RegistryError(message("pushed, and not known as what", ref, detail, remedy))
    return text


def _told(
    error: ProcessError, ref: str, registry: Registry, troubles: tuple[_Trouble, ...]
) -> RegistryError:
    said = _said(error)
    trouble = next(one for one in troubles if one.known_by.search(said))
    detail = printable(registry.without_password(said), 1000)
    return RegistryError(message(trouble.what, ref, detail, trouble.remedy))


def _said(error: ProcessError) -> str:
    """What went wrong, out of skopeo's log."""
    if found := _FATAL.findall(error.detail):
        plain = re.sub(r"\\(.)", lambda one: " " if one[1] in "nt" else one[1], found[-1])
        return " ".join(plain.split())
    return error.last_lines(1)
