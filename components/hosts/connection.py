"""How the program reaches a host: for inputs of resources, for hooks and for the commit."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final, Protocol

import pulumi
from pulumi_command import local, remote

from ..pipeline.activation import protocol
from ..pipeline.config.incus import TransportKind
from ..pipeline.config.stack import Endpoint, HostSpec
from ..pipeline.deploy import closure
from ..pipeline.transport import ssh
from ..pipeline.transport.incus_exec import IncusExec
from ..pipeline.transport.ssh import Ssh
from ..pipeline.transport.ssh_errors import SSH_FAILED
from ..pipeline.transport.ssh_files import SshFiles
from ..pipeline.transport.transport import Transport
from ..pipeline.values import HostAddress, HostKey, StorePath

ReportedEndpoint = tuple[str, str]
"""The address and the host key that an instance reports."""
Triggers = list[pulumi.Input[str]] | None
"""Values whose change makes a resource run its command again."""
UNKNOWN_HOST: Final = ":"
"""Placeholder in inputs of resources that never run, because their instance was not created."""
DIAL_ERRORS: Final = 1
"""Failed dials that the provider allows in one try: the error hook retries, and knows why."""
JUMP_DIAL_ERRORS: Final = 0
"""The same with a jump: the provider would dial again over the connection that has just failed, and
report only that."""
DIAL_TIMEOUT: Final = 5
"""Seconds for one dial."""

_CANCELED: Final = "context canceled"
"""What a provider reports after Ctrl-C: it tries once more, and waits for nothing else."""
_REMOTE_EXIT: Final = "Process exited with status"
"""What the remote provider reports if the host failed, not the connection."""
_LOCAL_EXIT: Final = re.compile(r"exit status (\d+)")
"""What the local provider reports of a client's exit."""
_PERMANENT: Final = ("host key mismatch", "unable to authenticate", "no matching host key")
"""Dial errors that another dial does not fix."""
_REFUSED: Final = ("Host key verification failed", "Permission denied (", "no matching host key")
"""The same of OpenSSH."""


class Connection(Protocol):
    """How one host is reached."""

    @property
    def environment(self) -> dict[str, str] | None:
        """The environment of a copy command."""

    def text(self, make: Callable[[Transport], str]) -> pulumi.Input[str]:
        """An input made from the transport; unknown until the host exists."""

    async def transport(self) -> Transport:
        """The transport, for a hook: by then the host exists.

        Raises:
            InvalidValue: the reported address or key cannot be parsed.
            HostError: it is another instance than that of the state.
        """

    def commit_resource(
        self, name: str, new: StorePath, triggers: Triggers, opts: pulumi.ResourceOptions
    ) -> local.Command | remote.Command:
        """The resource that commits `new` over a new connection, which is the confirmation."""

    def is_host_failure(self, text: str) -> bool:
        """Whether an error of the commit came from the host, not from the connection."""

    def is_permanent_failure(self, text: str) -> bool:
        """Whether an error of the connection makes another try useless."""


class SshConnection:
    """A host over ssh.

    `reported` is the endpoint that an instance reports; None inside it if it was not created.
    """

    def __init__(
        self,
        host: HostSpec,
        files: SshFiles,
        private_key: str | None,
        reported: pulumi.Output[ReportedEndpoint | None] | None = None,
    ) -> None:
        self._host = host
        self._files = files
        self._private_key = private_key
        self._reported = reported

    @property
    def environment(self) -> dict[str, str] | None:
        """NIX_SSHOPTS, which contains no address."""
        return {"NIX_SSHOPTS": self._files.nix_sshopts(self._host)}

    def text(self, make: Callable[[Transport], str]) -> pulumi.Input[str]:
        """See Connection."""
        return self._input(make)

    def _input(self, make: Callable[[Ssh], str]) -> pulumi.Input[str]:
        if self._reported is None:
            return make(self._configured)
        return self._reported.apply(lambda it: make(self._at(*it)) if it else UNKNOWN_HOST)

    async def transport(self) -> Transport:
        """See Connection."""
        if self._reported is None:
            return self._configured
        address, key = await self._reported.future() or ("", "")
        return ssh.pin(self._files, self._host, self._at(address, key).endpoint)

    @property
    def _configured(self) -> Ssh:
        return Ssh.of(self._host, self._files)

    def _at(self, address: str, key: str) -> Ssh:
        endpoint = Endpoint(address=HostAddress.parse(address), host_key=HostKey.parse(key))
        return Ssh(host=self._host, endpoint=endpoint, files=self._files)

    def commit_resource(
        self, name: str, new: StorePath, triggers: Triggers, opts: pulumi.ResourceOptions
    ) -> local.Command | remote.Command:
        """The provider's own ssh client connects, so the commit proves the way into the host."""
        proxy = self._proxy()
        return remote.Command(
            name,
            remote.CommandArgs(
                create=protocol.commit_command(new, root=self._host.is_root),
                connection=remote.ConnectionArgs(
                    host=self._input(lambda it: it.endpoint.address.text),
                    port=float(self._host.port),
                    user=self._host.user.text,
                    host_key=self._input(lambda it: it.endpoint.host_key.line),
                    private_key=self._key(),
                    dial_error_limit=JUMP_DIAL_ERRORS if proxy else DIAL_ERRORS,
                    per_dial_timeout=DIAL_TIMEOUT,
                    proxy=proxy,
                ),
                triggers=triggers,
                logging=remote.Logging.NONE,
                add_previous_output_in_env=False,
            ),
            opts,
        )

    def _key(self) -> pulumi.Output[str] | None:
        return None if self._private_key is None else pulumi.Output.secret(self._private_key)

    def _proxy(self) -> remote.ProxyConnectionArgs | None:
        """The jump, with its key pinned as the host's is."""
        if not self._host.proxy_jump:
            return None
        (jump,) = self._host.proxy_jump
        return remote.ProxyConnectionArgs(
            host=jump.address.text,
            port=float(jump.port),
            user=jump.user.text,
            host_key=jump.host_key.line,
            private_key=self._key(),
            dial_error_limit=JUMP_DIAL_ERRORS,
            per_dial_timeout=DIAL_TIMEOUT,
        )

    def is_host_failure(self, text: str) -> bool:
        """See Connection."""
        return _REMOTE_EXIT in text

    def is_permanent_failure(self, text: str) -> bool:
        """See Connection."""
        return _CANCELED in text or any(reason in text for reason in _PERMANENT)


class OpenSshConnection(SshConnection):
    """A host behind several jumps: the provider's client goes through one at most."""

    def commit_resource(
        self, name: str, new: StorePath, triggers: Triggers, opts: pulumi.ResourceOptions
    ) -> local.Command:
        """OpenSSH connects, in a process of its own."""
        argv = protocol.commit_argv(new)
        return _local_command(
            name, self.text(lambda it: closure.shell_command(it.argv(*argv))), triggers, opts
        )

    def is_host_failure(self, text: str) -> bool:
        """See Connection."""
        found = _LOCAL_EXIT.match(text)
        return found is not None and int(found[1]) != SSH_FAILED

    def is_permanent_failure(self, text: str) -> bool:
        """See Connection."""
        return _CANCELED in text or any(reason in text for reason in _REFUSED)


class IncusExecConnection:
    """An instance through Incus's client: known from the config, before the instance exists.

    `uuid` is that of the instance in the state; empty inside it if it was not created.
    """

    def __init__(
        self, host: HostSpec, files: SshFiles, uuid: pulumi.Output[str] | None = None
    ) -> None:
        self._exec = IncusExec(host=host, folder=PurePosixPath(files.known_hosts.parent))
        self._uuid = uuid

    @property
    def environment(self) -> dict[str, str] | None:
        """Nothing."""
        return None

    def text(self, make: Callable[[Transport], str]) -> pulumi.Input[str]:
        """See Connection."""
        return make(self._exec)

    async def transport(self) -> Transport:
        """See Connection; also if another instance has the name now."""
        if self._uuid and (known := await self._uuid.future()):
            await self._exec.require_uuid(known)
        return self._exec

    def commit_resource(
        self, name: str, new: StorePath, triggers: Triggers, opts: pulumi.ResourceOptions
    ) -> local.Command:
        """See Connection."""
        argv = self._exec.argv(*protocol.commit_argv(new))
        return _local_command(name, closure.shell_command(argv), triggers, opts)

    def is_host_failure(self, text: str) -> bool:
        """See Connection."""
        found = _LOCAL_EXIT.match(text)
        return found is not None and not self._exec.is_transport_failure(int(found[1]))

    def is_permanent_failure(self, text: str) -> bool:
        """See Connection."""
        return _CANCELED in text


def connect(
    host: HostSpec,
    files: SshFiles,
    private_key: str | None,
    reported: pulumi.Output[ReportedEndpoint | None] | None = None,
    uuid: pulumi.Output[str] | None = None,
) -> Connection:
    """The connection that the config of a host asks for.

    `reported` as in SshConnection, `uuid` as in IncusExecConnection.
    """
    if _is_exec(host):
        return IncusExecConnection(host, files, uuid)
    kind = OpenSshConnection if commits_locally(host) else SshConnection
    return kind(host, files, private_key, reported)


def commits_locally(host: HostSpec) -> bool:
    """Whether the commit is a command on this machine: of Incus's client, or of OpenSSH."""
    return _is_exec(host) or len(host.proxy_jump) > 1


def _is_exec(host: HostSpec) -> bool:
    return host.incus is not None and host.incus.transport is TransportKind.EXEC


def _local_command(
    name: str, create: pulumi.Input[str], triggers: Triggers, opts: pulumi.ResourceOptions
) -> local.Command:
    return local.Command(
        name,
        local.CommandArgs(
            create=create,
            triggers=triggers,
            logging=local.Logging.NONE,
            add_previous_output_in_env=False,
        ),
        opts,
    )
