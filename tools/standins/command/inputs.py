"""The inputs of a command as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from providers.sdk.inputs import Inputs
    from providers.sdk.values import Properties

_STDOUT: Final = frozenset({"", "stdout", "stdoutAndStderr"})
_STDERR: Final = frozenset({"", "stderr", "stdoutAndStderr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command printed, each without one trailing newline."""

    stdout: str = ""
    stderr: str = ""

    @classmethod
    def of(cls, state: Inputs) -> Output:
        """Parse the output of the last successful run from the state."""
        return cls(stdout=state.string("stdout", ""), stderr=state.string("stderr", ""))

    def properties(self) -> Properties:
        """As the state records it."""
        return {"stdout": self.stdout, "stderr": self.stderr}

    def variables(self) -> dict[str, str]:
        """The environment variables that pass it to the next command."""
        pairs = {"PULUMI_COMMAND_STDOUT": self.stdout, "PULUMI_COMMAND_STDERR": self.stderr}
        return {name: value for name, value in pairs.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One ssh server and how to log in there; its `repr` shows no secrets."""

    host: str
    port: int
    user: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    private_key_password: str | None = field(default=None, repr=False)
    agent_socket: str | None = None
    host_key: str | None = None
    """A line as in authorized_keys; if unset, any key is accepted, as in the released plugin."""
    dial_error_limit: int = 10
    """Retries; -1 for any number."""
    per_dial_timeout: int = 15
    """Seconds to open the TCP connection; 0 for no limit."""
    proxy: Endpoint | None = None

    @classmethod
    def of(cls, inputs: Inputs) -> Endpoint:
        """Parse a `connection`, or the `proxy` in one."""
        proxy = inputs.object("proxy")
        return cls(
            host=inputs.string("host", ""),
            port=inputs.integer("port", 22),
            user=inputs.string("user", "root"),
            password=inputs.string("password"),
            private_key=inputs.string("privateKey"),
            private_key_password=inputs.string("privateKeyPassword"),
            agent_socket=inputs.string("agentSocketPath"),
            host_key=inputs.string("hostKey"),
            dial_error_limit=inputs.integer("dialErrorLimit", 10),
            per_dial_timeout=inputs.integer("perDialTimeout", 15),
            proxy=cls.of(proxy) if proxy is not None else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The inputs of either resource type; those of the other stay at their defaults."""

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

    @classmethod
    def of(cls, inputs: Inputs) -> Command:
        """Parse inputs that have passed the check, or a state that contains them."""
        connection = inputs.object("connection")
        logging = inputs.string("logging", "")
        return cls(
            create=inputs.string("create"),
            update=inputs.string("update"),
            delete=inputs.string("delete"),
            stdin=inputs.string("stdin", ""),
            environment=inputs.string_map("environment"),
            logs_stdout=logging in _STDOUT,
            logs_stderr=logging in _STDERR,
            passes_previous=inputs.boolean("addPreviousOutputInEnv") is not False,
            directory=inputs.string("dir"),
            interpreter=inputs.strings("interpreter"),
            connection=Endpoint.of(connection) if connection is not None else None,
        )
