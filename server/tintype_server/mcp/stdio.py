"""The stdio door, fast to answer.

Importing the SDK takes most of a second, and some hosts give a server one second to answer at all. So a
front made of the standard library reads the pipe from the first millisecond: it answers ``server/discover``
and ``initialize`` at once and ``tools/list`` as soon as the caller's role is known, while the SDK loads.
Everything else waits in line for the SDK's server, which also receives ``initialize``; its own answer to
that is dropped, because the client has one.

The front also keeps the pipe alive where the SDK's would fall silent: a broken line gets a JSON-RPC error,
and an answer that cannot be encoded becomes one.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tintype_server.mcp import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tintype_server.runtime import Runtime
    from tintype_server.settings import Settings

PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR = -32700, -32600, -32603
VERSION_META = "io.modelcontextprotocol/protocolVersion"
SHUTDOWN_SECONDS = 3.0
"""How long running calls may wind down after the client hung up."""
FAREWELL_SECONDS = 1.0
"""How long a server that cannot start still answers with the reason."""


class Waiting(NamedTuple):
    """A line for the SDK, with the id and method that the front read off it."""

    line: bytes
    request_id: str | int | None
    method: Any


class Front:
    """Owns the pipe: reads lines in a thread, answers what it can, queues the rest."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._reader = os.fdopen(read_fd, "rb", buffering=1 << 16)
        self._write_fd = write_fd
        self._write_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self.inbox: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._on_line: Callable[[], None] = lambda: None
        self._tools: list[dict[str, Any]] | None = None
        self._early_lists: list[dict[str, Any]] = []
        self._handed_over = False
        self._refusal: str | None = None
        self._answered_initialize: set[str] = set()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def show_tools(self, tools: list[dict[str, Any]]) -> None:
        """The caller's role is known: answer the lists that wait, and those to come before the handover."""
        with self._state_lock:
            self._tools = tools
            waiting, self._early_lists = self._early_lists, []
        for request in waiting:
            self._answer_list(request, tools)

    def refuse_all(self, why: str) -> None:
        """There will be no service: every request, waiting or to come, gets this as an error."""
        with self._state_lock:
            self._refusal = why
            waiting, self._early_lists = self._early_lists, []
        for request in waiting:
            self.send_error(request["id"], INTERNAL_ERROR, why)

    def hand_over(self, on_line: Callable[[], None]) -> None:
        """From now on every line goes to the SDK; ``on_line`` is called, from the reader, at each."""
        with self._state_lock:
            self._handed_over = True
            self._on_line = on_line
        on_line()

    def send(self, message: bytes) -> None:
        """Write one line."""
        view = memoryview(message + b"\n")
        with self._write_lock:
            while view:
                view = view[os.write(self._write_fd, view) :]

    def send_error(self, request_id: Any, code: int, message: str) -> None:
        """Write a JSON-RPC error."""
        body = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
        self.send(json.dumps(body).encode())

    def is_duplicate(self, request_id: Any) -> bool:
        """Whether the SDK's answer with this id is the second one to ``initialize``; true once per id."""
        key = json.dumps(request_id)
        if key in self._answered_initialize:
            self._answered_initialize.discard(key)
            return True
        return False

    def _read(self) -> None:
        try:
            for line in self._reader:
                waiting = self._take(line) if line.strip() else None
                if waiting is not None:
                    self.inbox.put(waiting)
                    self._on_line()
        except (OSError, ValueError):
            pass
        # The client hung up. A call that ignores its cancellation must not keep the process alive.
        watchdog = threading.Timer(SHUTDOWN_SECONDS, os._exit, args=(0,))
        watchdog.daemon = True
        watchdog.start()
        self.inbox.put(None)
        self._on_line()

    def _take(self, line: bytes) -> Waiting | None:
        """Answer a line here if it can be; otherwise it waits for the SDK."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self.send_error(None, PARSE_ERROR, "The line is not valid JSON.")
            return None
        if not isinstance(message, dict):
            self.send_error(
                None, INVALID_REQUEST, "One JSON-RPC message per line; batches are not supported."
            )
            return None
        request_id = message.get("id")
        if isinstance(request_id, bool) or not isinstance(request_id, str | int):
            if "method" in message and "id" in message:
                self.send_error(None, INVALID_REQUEST, "A request id is a string or an integer.")
                return None
            request_id = None
        with self._state_lock:
            if not self._handed_over and self._answer_before_handover(message):
                return None
        return Waiting(line, request_id, message.get("method"))

    def _answer_before_handover(self, message: dict[str, Any]) -> bool:
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        match message.get("method"):
            case "server/discover" if "id" in message and _version(params) in identity.MODERN_VERSIONS:
                self._send_result(message["id"], identity.discover_result())
                return True
            case "initialize" if "id" in message and _is_hello(params):
                self._answered_initialize.add(json.dumps(message["id"]))
                self._send_result(message["id"], identity.initialize_result(params["protocolVersion"]))
                return False
            case _ if self._refusal is not None:
                if "id" in message:
                    self.send_error(message["id"], INTERNAL_ERROR, self._refusal)
                return True
            case "tools/list" if "id" in message and params.get("cursor") is None:
                if _version(params) not in (None, *identity.MODERN_VERSIONS):
                    return False
                if self._tools is None:
                    self._early_lists.append(message)
                else:
                    self._answer_list(message, self._tools)
                return True
        return False

    def _answer_list(self, request: dict[str, Any], tools: list[dict[str, Any]]) -> None:
        result: dict[str, Any] = {"tools": tools}
        if _version(request.get("params") or {}) in identity.MODERN_VERSIONS:
            result = identity.modern_envelope(result, ttl_ms=identity.LISTS_TTL_MS)
        self._send_result(request["id"], result)

    def _send_result(self, request_id: Any, result: dict[str, Any]) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode())


def _is_hello(params: dict[str, Any]) -> bool:
    """Whether the SDK will accept these parameters of ``initialize``."""
    client = params.get("clientInfo")
    return (
        isinstance(params.get("protocolVersion"), str)
        and isinstance(params.get("capabilities"), dict)
        and isinstance(client, dict)
        and all(isinstance(client.get(key), str) for key in ("name", "version"))
    )


def _version(params: dict[str, Any]) -> Any:
    meta = params.get("_meta")
    return meta.get(VERSION_META) if isinstance(meta, dict) else None


def main(argv: list[str]) -> int:
    """Serve MCP on this process's standard streams until the client hangs up."""
    options = _parse(argv)
    read_fd, write_fd = os.dup(0), os.dup(1)
    # Whatever else prints or reads, in this process or a child, must not touch the protocol's pipe.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    front = Front(read_fd, write_fd)
    front.start()
    try:
        settings = _settings(options)
        runtime = _open_workspace(front, settings)()
    except Exception as error:
        return _fail(front, error)
    _serve(front, runtime)
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tintype mcp", description="Serve MCP over stdio.")
    parser.add_argument("--home", help="folder that holds all state (TINTYPE_HOME)")
    parser.add_argument("--api-key", help="key to act with (TINTYPE_API_KEY, else the saved owner key)")
    parser.add_argument("--root", action="append", default=[], help="another folder that tools may touch")
    parser.add_argument("--toolsets", help="comma-separated toolsets to offer; default all")
    parser.add_argument("--read-only", action="store_true", help="change nothing, whatever the key allows")
    parser.add_argument("--max-response-tokens", type=int, help="response budget of a call; 0 for none")
    return parser.parse_args(argv)


def _settings(options: argparse.Namespace) -> Settings:
    from tintype_server.settings import Settings

    return Settings.from_env().overridden(
        home=options.home,
        api_key=options.api_key,
        roots=options.root,
        toolsets=options.toolsets,
        read_only=options.read_only,
        max_response_tokens=options.max_response_tokens,
    )


def _open_workspace(front: Front, settings: Settings) -> Callable[[], Runtime]:
    """Learn the caller's role and show the tools; what is returned then loads the rest."""
    from tintype_server.opening import open_studio
    from tintype_studio.identity.bootstrap import saved_api_key
    from tintype_tools.snapshot import as_mcp_tool, visible_tools

    studio = open_studio(settings)
    key = settings.api_key or saved_api_key(settings.home)
    principal = studio.keys.authenticate(key)
    toolsets = settings.offered_toolsets(principal.toolsets)
    shown = visible_tools(principal.role.value, toolsets, read_only=settings.read_only)
    front.show_tools([as_mcp_tool(tool) for tool in shown])

    def load() -> Runtime:
        from tintype_server.runtime import Runtime

        return Runtime.over(studio, settings)

    return load


def _fail(front: Front, error: Exception) -> int:
    """Tell the client why there will be no service, then go."""
    from tintype_studio.errors import TintypeError

    if isinstance(error, TintypeError):
        text = f"{error.message} {error.fix}"
    else:
        import traceback

        traceback.print_exc()
        text = "Tintype could not start; its log tells why."
    print(f"tintype mcp: {text}", file=sys.stderr)  # noqa: T201
    front.refuse_all(text)
    _refuse_queued(front, text)
    return 1


def _refuse_queued(front: Front, text: str) -> None:
    """Answer what waited for the SDK; then give a client that still writes a moment to read why."""
    deadline = time.monotonic() + FAREWELL_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        try:
            waiting = front.inbox.get(timeout=left)
        except queue.Empty:
            return
        if waiting is None:
            return
        if waiting.request_id is not None and waiting.method != "initialize":
            front.send_error(waiting.request_id, INTERNAL_ERROR, text)


def _serve(front: Front, runtime: Runtime) -> None:
    import asyncio

    from tintype_server.mcp.pump import pump

    try:
        asyncio.run(pump(front, runtime))
    finally:
        runtime.close()
