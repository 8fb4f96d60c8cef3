"""Moves messages between the stdio front and the SDK's server object."""

from __future__ import annotations

import asyncio
import queue
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import mcp.types as t
from mcp.shared.message import SessionMessage

from tintype_server.mcp.caller import Caller
from tintype_server.mcp.server import build_server
from tintype_server.mcp.stdio import INTERNAL_ERROR, INVALID_REQUEST, Front
from tintype_server.runtime import Runtime, working_folder_files

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Incoming = SessionMessage | Exception


async def pump(front: Front, runtime: Runtime) -> None:
    """Serve one stdio connection until the client closes its end."""
    caller = Caller(
        api_key=runtime.local_api_key(),
        door="stdio",
        files=working_folder_files(runtime.settings),
        session=f"stdio-{runtime.studio.liveness.instance}",
    )
    server = build_server(runtime, lambda _request: caller)
    runtime.studio.search.indexer.start()
    runtime.studio.jobs.supervisor.resume()
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: the connection is over
            loop.call_soon_threadsafe(arrived.set)

    front.hand_over(wake)
    to_server, server_reads = anyio.create_memory_object_stream[Incoming](0)
    server_writes, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_feed, front, arrived, to_server)
        tasks.start_soon(_drain, front, from_server)
        await server.run(server_reads, server_writes, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _feed(front: Front, arrived: asyncio.Event, to_server: MemoryObjectSendStream[Incoming]) -> None:
    async with to_server:
        while True:
            try:
                waiting = front.inbox.get_nowait()
            except queue.Empty:
                arrived.clear()
                if front.inbox.empty():
                    await arrived.wait()
                continue
            if waiting is None:
                return
            try:
                message = t.jsonrpc_message_adapter.validate_json(waiting.line, by_name=False)
            except Exception:
                front.send_error(
                    waiting.request_id,
                    INVALID_REQUEST,
                    "Not a valid JSON-RPC message (wrong members, too deep, or text with broken characters).",
                )
            else:
                await to_server.send(SessionMessage(message))


async def _drain(front: Front, from_server: MemoryObjectReceiveStream[SessionMessage]) -> None:
    async with from_server:
        async for outgoing in from_server:
            message = outgoing.message
            request_id = getattr(message, "id", None)
            is_answer = not hasattr(message, "method")
            if is_answer and front.is_duplicate(request_id):
                continue
            try:
                encoded = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
            except ValueError:
                if is_answer:
                    front.send_error(request_id, INTERNAL_ERROR, "The answer could not be encoded.")
                continue
            try:
                front.send(encoded)
            except OSError:
                return
