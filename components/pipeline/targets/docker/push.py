"""An image to a registry, with skopeo, under a name that evaluation knows; and its digest.

The name's tag is the hash of the store path. An image that has this name already is compared with
the built one: it is the right one, and nothing is pushed, or another one, and nothing is
overwritten. skopeo sends only the layers that the registry lacks.
"""

import asyncio
import hashlib
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...config.registry import Registry
from ...errors import ProcessError, RegistryError, message, printable
from ...process import run
from ...process.run import Argv
from . import image, login
from .archive import MANIFEST_LIMIT, read_manifest
from .config import ImageConfig
from .decompress import decompress

PUSH_TIMEOUT: Final = 3600.0
INSPECT_TIMEOUT: Final = 60.0
SKOPEO: Final = ("skopeo", "--insecure-policy")
"""A policy for images is Docker's own affair: this image is the release's own."""
RETRIES: Final = ("--retry-times", "2")
RESTARTS: Final = 2
"""Times that we start skopeo again where it does not retry."""
PAUSE: Final = 1.0
_BROKEN_CONNECTION: Final = re.compile("use of closed network connection|broken pipe")
"""A failure that `--retry-times` does not know (containers/common, pkg/retry)."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_FATAL: Final = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class _Failure:
    """A way to fail: what of skopeo's output shows it, and what to do about it."""

    pattern: re.Pattern[str]
    what: str
    remedy: str


_UNREACHABLE: Final = _Failure(
    re.compile(
        "connection refused|no such host|no route to host|network is unreachable|i/o timeout"
        "|handshake timeout|deadline exceeded|timed out after|server misbehaving"
    ),
    "cannot reach the registry",
    "check docker.registry.address, and that the registry runs; then run `pulumi up` again",
)
_UNAUTHORIZED: Final = _Failure(
    re.compile(
        "unauthorized|authentication required|invalid username/password|access .* denied|denied:"
        "|invalid status code .*: 40[13]|status: 40[13]"
    ),
    "the registry refused the login",
    "set docker.registry.username and password, or log in with `skopeo login`, as a user who may "
    "push there",
)
_PLAIN_HTTP: Final = _Failure(
    re.compile("gave HTTP response to HTTPS client"),
    "the registry speaks plain http",
    "give it TLS: plain http is only for a registry on this machine",
)
_UNTRUSTED: Final = _Failure(
    re.compile("x509:|certificate"),
    "the registry's certificate is not trusted",
    "add its CA to /etc/containers/certs.d/HOST, or to the trusted ones of this machine",
)
_OTHER: Final = _Failure(
    re.compile(""), "the push failed", "run `pulumi up` again: it sends only what is missing"
)
_NO_ANSWER: Final = _Failure(
    re.compile(""), "cannot look for the image in the registry", "run `pulumi up` again"
)
_OF_INSPECT: Final = (_PLAIN_HTTP, _UNTRUSTED, _UNREACHABLE, _NO_ANSWER)
_ALL: Final = (*_OF_INSPECT[:-1], _UNAUTHORIZED, _OTHER)
_ABSENT: Final = re.compile(
    "manifest unknown|name unknown|(artifact|image|manifest|repository) [^ ]* ?not found"
    "|invalid status code .*: 404"
)
_LIST: Final = "a list of images"


async def ensure_pushed(
    built: Path, ref: str, registry: Registry, report: Callable[[str], None]
) -> str:
    """Make sure that the registry has the image under the name `ref`, and return its digest.

    Raises:
        DockerError: it is not an image.
        RegistryError: why it cannot be pushed, or that another image has the name.
    """
    with login.auth_file(await login.find(registry), registry.host) as auth:
        found = await _find_manifest(ref, registry, auth)
        async with image.archive_of(built, report) as archive:
            if found is not None:
                manifest = await asyncio.to_thread(read_manifest, archive)
                return await _compare(found, manifest.config, ref, registry, auth)
            report(f"pushing the image, at most {archive.stat().st_size / 1e6:.0f} MB")
            return await _push(archive, ref, registry, auth)


async def _compare(
    found: bytes, built: ImageConfig, ref: str, registry: Registry, auth: Argv
) -> str:
    """Return the digest of the registry's image, if it is the one that was built.

    Raises:
        RegistryError: it is another one.
    """
    digest = f"sha256:{hashlib.sha256(found).hexdigest()}"
    config = _config_of(found)
    if config == built.digest:
        return digest
    if config not in {"", _LIST}:
        pinned = f"{ref.rpartition(':')[0]}@{digest}"
        content = await _inspect(pinned, registry, auth, "--config")
        try:
            if built.is_same_as(ImageConfig.parse(content)):
                return digest
        except ValueError:
            config = "no image"
    detail = f"it is {config or 'no image'}, not {built.digest}"
    remedy = (
        "find out who pushed it (another machine's build of the same release counts as another "
        f"image if its bytes differ), remove it with `skopeo delete docker://{ref}`, then run "
        "`pulumi up` again"
    )
    raise RegistryError(
        message(
            "the registry has another image under this name", ref, printable(detail, 300), remedy
        )
    )


def _config_of(manifest: bytes) -> str:
    """Return the digest of the configuration in a manifest; `_LIST`, or empty if it has none."""
    try:
        found: Any = json.loads(manifest)
        if "manifests" in found:
            return _LIST
        return str(found["config"]["digest"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


async def _push(archive: Path, ref: str, registry: Registry, auth: Argv) -> str:
    async with decompress(archive) as readable:
        with tempfile.TemporaryDirectory(prefix="flakeup-push-") as folder:
            file = Path(folder) / "digest"
            # Compressed in advance: only so can skopeo tell which layers the registry has already.
            flags = ("copy", "--dest-precompute-digests", *auth, *RETRIES)
            flags = (*flags, *_tls("--dest-tls-verify", registry))
            flags = (*flags, "--quiet", "--digestfile", str(file))
            try:
                await _copy(
                    (*SKOPEO, *flags, "--", f"docker-archive:{readable}", f"docker://{ref}")
                )
            except ProcessError as error:
                raise _explain(error, ref, registry, _ALL) from error
            return _read_digest(file, ref)


async def _copy(argv: Argv) -> None:
    """Run skopeo, and again where a broken connection ended it: it sends what is missing."""
    for restarts in range(RESTARTS + 1):
        try:
            await run.run(argv, timeout=PUSH_TIMEOUT)
        except ProcessError as error:
            if restarts == RESTARTS or not _BROKEN_CONNECTION.search(_reason(error)):
                raise
            await asyncio.sleep(PAUSE)
        else:
            return


async def _find_manifest(ref: str, registry: Registry, auth: Argv) -> bytes | None:
    """Return the manifest that has this name in the registry; None if there is none.

    A login that may not look, or may not know that there is nothing, may still push.
    """
    try:
        return await _inspect(ref, registry, auth)
    except RegistryError as error:
        reason = _reason(error.__cause__) if isinstance(error.__cause__, ProcessError) else ""
        if _ABSENT.search(reason) or _UNAUTHORIZED.pattern.search(reason):
            return None
        raise


async def _inspect(ref: str, registry: Registry, auth: Argv, *options: str) -> bytes:
    """Return the manifest of an image in the registry, or with `--config` its configuration."""
    flags = ("inspect", "--raw", *options, *auth, *RETRIES, *_tls("--tls-verify", registry))
    argv = (*SKOPEO, *flags, "--", f"docker://{ref}")
    try:
        found = await run.run(argv, timeout=INSPECT_TIMEOUT, limit=MANIFEST_LIMIT)
    except ProcessError as error:
        raise _explain(error, ref, registry, _OF_INSPECT) from error
    return found.stdout


def _tls(option: str, registry: Registry) -> Argv:
    """Return the option that requires TLS and a trusted certificate, except on this machine."""
    return (f"{option}={'false' if registry.is_here else 'true'}",)


def _read_digest(file: Path, ref: str) -> str:
    text = file.read_text(encoding="ascii", errors="replace").strip() if file.is_file() else ""
    if not _DIGEST.fullmatch(text):
        detail, remedy = "skopeo reported none", "use skopeo 1.6 or later"
        raise RegistryError(message("no digest of the pushed image", ref, detail, remedy))
    return text


def _explain(
    error: ProcessError, ref: str, registry: Registry, failures: tuple[_Failure, ...]
) -> RegistryError:
    reason = _reason(error)
    if error.remedy:
        return RegistryError(message("cannot push an image", ref, reason, error.remedy))
    failure = next(one for one in failures if one.pattern.search(reason))
    detail = printable(registry.without_password(reason), 1000)
    return RegistryError(message(failure.what, ref, detail, failure.remedy))


def _reason(error: ProcessError) -> str:
    """Return the last fatal error in skopeo's log, or the last line."""
    if found := _FATAL.findall(error.detail):
        plain = re.sub(r"\\(.)", lambda one: " " if one[1] in "nt" else one[1], found[-1])
        return " ".join(plain.split())
    return error.last_lines(1)
