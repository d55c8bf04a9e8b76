"""Health checks that the deployer runs against a host, over the network."""

import asyncio
import errno
import os
import re
import ssl
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from ..config.checks import Check, CheckKind
from ..errors import message, printable

_HEADERS: Final = {
    "User-Agent": "flakeup",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
_trust: Final = cache(ssl.create_default_context)
_ERRNO: Final = re.compile(r"\[Errno ([0-9]+)\]")


class CheckError(Exception):
    """A failed check: `str()` is `check <name>: <detail>`, printable."""

    def __init__(self, check: Check, detail: str) -> None:
        self.check = check
        self.detail = detail
        super().__init__(message(f"check {check.name}", "", detail))


async def run_checks(checks: tuple[Check, ...], *, deadline: float, show_body: bool = True) -> None:
    """Run checks in parallel, and return once all of them succeed.

    `checks` are those of `CheckOrigin.DEPLOYER`, with their placeholders filled. `deadline` is the
    number of seconds for all of them, and `show_body` whether an error may quote a response.

    Raises:
        CheckError: the first check that fails or times out.
    """
    if not checks:
        return
    runs = {
        asyncio.create_task((one := _CheckRun(check, show_body=show_body)).run()): one
        for check in checks
    }
    try:
        _, late = await asyncio.wait(runs, timeout=deadline, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in runs:
            task.cancel()
        results = await asyncio.gather(*runs, return_exceptions=True)
    # If several failed, the first in the order of the config is reported, not the first to finish.
    if failed := [it for it in results if isinstance(it, Exception)]:
        raise failed[0]
    if overdue := [run for task, run in runs.items() if task in late]:
        raise CheckError(overdue[0].check, overdue[0].timeout_detail(deadline))


class _CheckRun:
    """One check: what its last try found, and since when it succeeds."""

    def __init__(self, check: Check, *, show_body: bool) -> None:
        self.check = check
        self._show_body = show_body
        self._fault = ""
        self._passing_since: float | None = None

    async def run(self) -> None:
        """Try until the check has succeeded for its hold time."""
        clock, failures = asyncio.get_running_loop().time, 0
        while True:
            started = clock()
            self._fault = await probe(self.check, show_body=self._show_body)
            now = clock()
            failures += bool(self._fault)
            if self._passing_since is None and not self._fault:
                self._passing_since = now
            if self._passing_since is not None:
                held = now - self._passing_since
                if self._fault:
                    raise CheckError(
                        self.check, f"passed for {held:.0f} s, then failed: {self._fault}"
                    )
                if held >= self.check.hold.seconds:
                    return
            elif failures > self.check.retries:
                raise CheckError(self.check, self._fault)
            due = started + self.check.period.seconds
            if self._passing_since is not None:
                due = min(due, self._passing_since + self.check.hold.seconds)
            await asyncio.sleep(due - now)

    def timeout_detail(self, deadline: float) -> str:
        """What was missing when the deadline passed."""
        if self._passing_since is not None:
            return f"passed, but not for {self.check.hold.text} before {deadline:g} s were over"
        return f"still failing after {deadline:g} s: {self._fault or 'no response'}"


async def probe(check: Check, *, show_body: bool) -> str:
    """Run a check once, within its own timeout; the reason why it failed, or an empty string."""
    import httpx  # noqa: PLC0415 a preview runs no checks, and should not pay for it

    try:
        async with asyncio.timeout(check.timeout.seconds):
            match check.kind:
                case CheckKind.HTTP:
                    # Not httpx's client: it reads redirects even if it does not follow them.
                    request = httpx.Request("GET", check.target, headers=_HEADERS)
                    async with httpx.AsyncHTTPTransport(verify=_trust(), trust_env=False) as http:
                        answer = await http.handle_async_request(request)
                        # At most 64 KiB of the body, as sent: decompressed it could have any size.
                        body = await anext(answer.aiter_raw(64 * 1024), b"")
                    fault = _http_fault(check, answer.status_code, answer.headers.raw)
                    return fault or _body_fault(check, body, show_body=show_body)
                case CheckKind.TCP:
                    await _connect(check.target)
                    return ""
                case CheckKind.UNIT | CheckKind.COMMAND:
                    msg = f"only the host can check a {check.kind}"
                    raise ValueError(msg)
    except TimeoutError as error:
        return describe(error) if error.errno else f"no response in {check.timeout.seconds} s"
    except httpx.RemoteProtocolError as error:
        broke_off = str(error).startswith(("Server disconnected", "peer closed connection"))
        what = "the connection was closed before the response was complete"
        return what if broke_off else f"the response is not HTTP: {printable(str(error))}"
    except (httpx.TransportError, OSError) as error:
        return describe(error)
    except UnicodeError:
        return "invalid host name: a label is too long"


def _http_fault(check: Check, status: int, headers: list[tuple[bytes, bytes]]) -> str:
    if status != check.status:
        return f"expected status {check.status}, got {status}"
    lines = [b": ".join(header).decode("latin-1").lower() for header in headers]
    if check.header and not any(check.header.lower() in line for line in lines):
        return f"no header contains '{printable(check.header)}'"
    return ""


def _body_fault(check: Check, body: bytes, *, show_body: bool) -> str:
    if check.contains.encode() in body:
        return ""
    found = f": '{printable(body[:200].decode(errors='replace').strip())}'" if show_body else ""
    return f"the body does not contain '{printable(check.contains)}'{found}"


async def _connect(target: str) -> None:
    parts = urlsplit(f"//{target}")
    _, writer = await asyncio.open_connection(parts.hostname, parts.port, happy_eyeballs_delay=0.25)
    writer.transport.abort()


def describe(error: BaseException | None) -> str:
    """Why there is no connection, in a few words such as `connection refused`."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"invalid certificate: {printable(error.verify_message)}"
        case ssl.SSLError():
            return f"TLS error: {printable(error.reason or str(error)).lower().replace('_', ' ')}"
        case OSError(__cause__=None):
            # Several addresses give several errors in one text, without an errno.
            numbers = [error.errno] if error.errno else map(int, _ERRNO.findall(str(error)))
            known = [os.strerror(number) for number in numbers if number in errno.errorcode]
            return (known[0] if known else printable(error.strerror or str(error))).lower()
        case ExceptionGroup():
            return describe(error.exceptions[0])
        case None:
            return "the connection was closed"
        case _:
            return describe(error.__cause__ or error.__context__)
