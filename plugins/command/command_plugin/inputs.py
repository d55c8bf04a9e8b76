"""The inputs of a command, parsed: what check let through, as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from command_plugin.values import Properties, Value, reveal

_STDOUT: Final = frozenset({"", "stdout", "stdoutAndStderr"})
_STDERR: Final = frozenset({"", "stderr", "stdoutAndStderr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command printed, one trailing newline off each."""

    stdout: str = ""
    stderr: str = ""

    @classmethod
    def of(cls, state: Properties) -> Output:
        """The output stored by the last success."""
        plain = {key: reveal(state.get(key)) for key in ("stdout", "stderr")}
        return cls(stdout=_text(plain["stdout"]) or "", stderr=_text(plain["stderr"]) or "")

    def variables(self) -> dict[str, str]:
        """The environment variables that hand it to the next command."""
        pairs = {"PULUMI_COMMAND_STDOUT": self.stdout, "PULUMI_COMMAND_STDERR": self.stderr}
        return {name: value for name, value in pairs.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One ssh server and how to log in there; secrets are kept out of its `repr`."""

    host: str
    port: int
    user: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    private_key_password: str | None = field(default=None, repr=False)
    agent_socket: str | None = None
    host_key: str | None = None
    """One line as in authorized_keys; unset, any key is accepted, as in the release."""
    dial_error_limit: int = 10
    """Failures that are forgiven; -1 for any number."""
    per_dial_timeout: int = 15
    """Seconds to connect in; 0 for any number. Bounds the TCP connection only."""
    proxy: Endpoint | None = None

    @classmethod
    def of(cls, properties: Properties) -> Endpoint:
        """Parse a `connection`, or the `proxy` in one; secrets are revealed already."""
        get = properties.get
        proxy = get("proxy")
        return cls(
            host=_text(get("host")) or "",
            port=_whole(get("port"), 22),
            user="root" if get("user") is None else _text(get("user")) or "",
            password=_text(get("password")),
            private_key=_text(get("privateKey")),
            private_key_password=_text(get("privateKeyPassword")),
            agent_socket=_text(get("agentSocketPath")),
            host_key=_text(get("hostKey")),
            dial_error_limit=_whole(get("dialErrorLimit"), 10),
            per_dial_timeout=_whole(get("perDialTimeout"), 15),
            proxy=cls.of(proxy) if isinstance(proxy, dict) else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The inputs of either resource; those of the other kind stay at their defaults."""

    create: str | None
    update: str | None
    delete: str | None
    stdin: str
    environment: dict[str, str]
    logs_stdout: bool
    logs_stderr: bool
    passes_previous: bool
    directory: str | None
    interpreter: tuple[str, ...]
    connection: Endpoint | None
    is_local: bool

    @classmethod
    def of(cls, properties: Properties, *, is_local: bool) -> Command:
        """Parse inputs that have passed check, or a state made of such."""
        get = {name: reveal(value) for name, value in properties.items()}.get
        environment, interpreter = get("environment"), get("interpreter")
        connection = get("connection")
        logging = _text(get("logging")) or ""
        return cls(
            create=_text(get("create")),
            update=_text(get("update")),
            delete=_text(get("delete")),
            stdin=_text(get("stdin")) or "",
            environment=(
                {name: _text(value) or "" for name, value in environment.items()}
                if isinstance(environment, dict)
                else {}
            ),
            logs_stdout=logging in _STDOUT,
            logs_stderr=logging in _STDERR,
            passes_previous=get("addPreviousOutputInEnv") is not False,
            directory=_text(get("dir")),
            interpreter=(
                tuple(_text(word) or "" for word in interpreter)
                if isinstance(interpreter, list)
                else ()
            ),
            connection=Endpoint.of(connection) if isinstance(connection, dict) else None,
            is_local=is_local,
        )


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Value, default: int) -> int:
    return int(value) if isinstance(value, float) else default
