"""The parts of the engine that the SDK's mocks lack: dependencies, hooks, failures.

It is the engine under `--continue-on-error`, which is the harder one: what does not depend on a
failed resource is gone on with.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi.runtime
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import resource_pb2

SUCCESS, FAIL, SKIP = (
    resource_pb2.Result.SUCCESS,
    resource_pb2.Result.FAIL,
    resource_pb2.Result.SKIP,
)


class Recorder(pulumi.runtime.Mocks):
    """Answers as the command provider would; `did` is called with each command that runs.

    `answers` are what the commands of resources print that do not answer as the runner does.
    """

    def __init__(self, did: Callable[[str], None], answers: Mapping[str, str]) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}
        self._did = did
        self._answers = answers

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs[args.name] = args.inputs
        if not args.typ.startswith("command:"):
            return f"{args.name}-id", args.inputs
        self._did(args.name)
        toplevel = args.inputs["create"].rsplit(" ", 1)[-1]
        answer = {"schema": 1, "event": "committed", "outcome": "committed", "toplevel": toplevel}
        stdout = self._answers.get(args.name, json.dumps(answer))
        return f"{args.name}-id", {**args.inputs, "stdout": stdout}

    def call(
        self, args: pulumi.runtime.MockCallArgs
    ) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(args.token)


@dataclass
class Row:
    """One registration, and its result: an error's text, `skipped`, or nothing."""

    type: str
    inputs: dict[str, Any]
    after: list[str]
    """The names of its dependencies."""
    ignores: list[str]
    ended: str = ""


class Engine(MockMonitor):
    """Runs the hooks of registered resources; those in `kept` do not change."""

    def __init__(
        self, recorder: Recorder, kept: tuple[str, ...], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(recorder)
        self.rows: dict[str, Row] = {}
        self._recorder = recorder
        self._kept = kept
        self._loop = loop
        self._hooks: dict[str, pulumi.ResourceHook] = {}

    def register_hook(self, hook: pulumi.ResourceHook) -> asyncio.Future[None]:
        self._hooks[hook.name] = hook
        return _done()

    def register_error_hook(self, hook: pulumi.ErrorHook) -> asyncio.Future[None]:
        """Accept a hook that is never called: no command fails here."""
        del hook
        return _done()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 the SDK's name
        after = [urn.rsplit("::", 1)[1] for urn in request.dependencies]
        row = Row(request.type, {}, after, list(request.ignoreChanges))
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type != "pulumi:pulumi:Stack":
            self.rows[request.name] = row
        if any(self.rows[name].ended for name in after):
            row.ended = "skipped"
            return resource_pb2.RegisterResourceResponse(urn=urn, result=SKIP)
        try:
            self._call(request.hooks.before_create, request, urn)
        except Exception as error:  # noqa: BLE001 as the engine does
            row.ended = str(error)
            return resource_pb2.RegisterResourceResponse(urn=urn, result=FAIL)
        made = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        row.inputs = self._recorder.inputs.get(request.name, {})
        self._call(request.hooks.after_create, request, urn)
        return made

    def _call(self, names: list[str], request: Any, urn: str) -> None:
        if request.name in self._kept:
            return
        outputs = self.resources[urn].state if urn in self.resources else None
        args = pulumi.ResourceHookArgs(
            urn, "", request.name, request.type, new_inputs={}, new_outputs=outputs
        )
        for hook in (self._hooks[name] for name in names):
            if pulumi.runtime.is_dry_run() and not (hook.opts and hook.opts.on_dry_run):
                continue
            # Registrations run in threads, hooks in the program's loop.
            asyncio.run_coroutine_threadsafe(_awaited(hook(args)), self._loop).result(60)


async def _awaited(work: Awaitable[None] | None) -> None:
    if work is not None:
        await work


def _done() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_event_loop().create_future()
    done.set_result(None)
    return done


class Log(logging.Handler):
    """The messages for a person, in order."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.levelname.lower()}: {record.msg}")
