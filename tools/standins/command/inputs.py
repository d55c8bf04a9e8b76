"""The inputs of a command, parsed: what check let through, as typed values."""

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
    """What a command printed, one trailing newline off each."""

    stdout: str = ""
    stderr: str = ""

    @classmethod
    def of(cls, state: Inputs) -> Output:
        """The output stored by the last success."""
        return cls(stdout=state.text("stdout", ""), stderr=state.text("stderr", ""))

    def properties(self) -> Properties:
        """As it is stored."""
        return {"stdout": self.stdout, "stderr": self.stderr}

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
    def of(cls, inputs: Inputs) -> Endpoint:
        """Parse a `connection`, or the `proxy` in one."""
        proxy = inputs.inside("proxy")
        return cls(
            host=inputs.text("host", ""),
            port=inputs.whole("port", 22),
            user=inputs.text("user", "root"),
            password=inputs.text("password"),
            private_key=inputs.text("privateKey"),
            private_key_password=inputs.text("privateKeyPassword"),
            agent_socket=inputs.text("agentSocketPath"),
            host_key=inputs.text("hostKey"),
            dial_error_limit=inputs.whole("dialErrorLimit", 10),
            per_dial_timeout=inputs.whole("perDialTimeout", 15),
            proxy=cls.of(proxy) if proxy is not None else None,
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

    @classmethod
    def of(cls, inputs: Inputs) -> Command:
        """Parse inputs that have passed check, or a state made of such."""
        connection = inputs.inside("connection")
        logging = inputs.text("logging", "")
        return cls(
            create=inputs.text("create"),
            update=inputs.text("update"),
            delete=inputs.text("delete"),
            stdin=inputs.text("stdin", ""),
            environment=inputs.mapping("environment"),
            logs_stdout=logging in _STDOUT,
            logs_stderr=logging in _STDERR,
            passes_previous=inputs.flag("addPreviousOutputInEnv") is not False,
            directory=inputs.text("dir"),
            interpreter=inputs.texts("interpreter"),
            connection=Endpoint.of(connection) if connection is not None else None,
        )
