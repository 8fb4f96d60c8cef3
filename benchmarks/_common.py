"""What the benchmarks share: a workspace, the bare echo servers, raw clients, and the printed result.

Times vary with the machine and with what else it does, so every benchmark measures ours and the plain
alternative in turn, round after round, and reports ratios.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import platform
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
DATASET = "bench"
CLIENT = {"name": "bench", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": CLIENT,
}

ECHO_SERVER = """
import sys
import anyio
import mcp.types as t
from mcp.server import Server

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


async def list_tools(ctx, params):
    return t.ListToolsResult(tools=[t.Tool(name="echo", description="Echo.", input_schema=SCHEMA)])


async def call_tool(ctx, params):
    return t.CallToolResult(content=[t.TextContent(type="text", text=params.arguments["text"])])


def build():
    return Server(
        "echo",
        version="1",
        get_tool_input_schema={"echo": SCHEMA}.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def stdio():
    from mcp.server.stdio import stdio_server

    server = build()
    async with stdio_server() as (reads, writes):
        await server.run(reads, writes, server.create_initialization_options())


if sys.argv[1] == "stdio":
    anyio.run(stdio)
else:
    import uvicorn

    import os

    # BARE_LOOP=asyncio BARE_HTTP=h11: as the SDK alone installs it; otherwise what is there, as for ours.
    uvicorn.run(
        build().streamable_http_app(),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        loop=os.environ.get("BARE_LOOP", "auto"),
        http=os.environ.get("BARE_HTTP", "auto"),
    )
"""
"""A low-level server with one tool and nothing around it, as the SDK's users write it."""


@dataclass(frozen=True)
class Bench:
    """A temporary folder with an open workspace and the echo script in it."""

    folder: Path
    home: Path
    echo: Path
    environment: dict[str, str]

    def ours(self, *arguments: str) -> list[str]:
        """Command line of the console script over the workspace."""
        return [str(Path(sys.executable).with_name("tintype")), *arguments]

    def owner_key(self) -> str:
        """The key that the first start saved."""
        return (self.home / "config.toml").read_text().split('"')[1]


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Make a workspace with one dataset, in a folder that goes away afterwards."""
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        folder = Path(name)
        # Every process compiles into, and loads from, the same cache, as an installed package would.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TINTYPE_")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        made = Bench(folder, folder / "home", folder / "echo_server.py", environment)
        made.echo.write_text(ECHO_SERVER)
        subprocess.run(
            made.ours("--home", str(made.home), "call", "create_dataset", "--name", DATASET),
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        yield made


def call_message(tool: str, arguments: dict[str, Any], request_id: int = 1) -> dict[str, Any]:
    """A ``tools/call`` of the 2026-07-28 protocol."""
    return {
        "jsonrpc": "2.0",
        "id": request_id,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": META},
    }


# --- HTTP ---------------------------------------------------------------------------------------------


def http_request(port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def mcp_call_request(port: int, tool: str, arguments: dict[str, Any], key: str | None) -> bytes:
    """A ``tools/call`` over streamable HTTP, 2026-07-28."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    if key is not None:
        headers["X-API-Key"] = key
    return http_request(port, "POST", "/mcp", headers, json.dumps(call_message(tool, arguments)).encode())


@contextlib.contextmanager
def http_server(command: Sequence[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    """A server process, from its first open port to its end."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait_for_port(port, process)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server did not open its port")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_answer(port: int, request: bytes, *, status: int, holds: bytes) -> None:
    """Send a request once and require its answer to be the expected one."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
    if response.status != status or holds not in body:
        raise RuntimeError(f"unexpected answer {response.status}: {body[:500]!r}")


@contextlib.contextmanager
def load_process() -> Iterator[ProcessPoolExecutor]:
    """A process of its own for the clients, so that they share no interpreter with anything."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(os.getpid).result()
        yield pool


def http_load(port: int, request: bytes, connections: int, total: int) -> tuple[float, list[float]]:
    """Send a request ``total`` times over kept-alive connections; ``(seconds in all, latencies)``.

    One thread and prepared bytes: a request costs this client a few microseconds, so the server is what is
    measured. Answers must carry ``Content-Length`` or be a 304.
    """
    selector = selectors.DefaultSelector()
    sent_at: dict[socket.socket, float] = {}
    received: dict[socket.socket, bytearray] = {}
    latencies: list[float] = []
    left = total
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ)
        received[client] = bytearray()
    started = time.perf_counter()
    for client in received:
        sent_at[client] = time.perf_counter()
        client.sendall(request)
        left -= 1
    while len(latencies) < total:
        for key, _ in selector.select(30):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            buffer = received[client]
            buffer += client.recv(1 << 20)
            if not _is_whole(buffer):
                continue
            now = time.perf_counter()
            latencies.append(now - sent_at[client])
            buffer.clear()
            if left > 0:
                left -= 1
                sent_at[client] = time.perf_counter()
                client.sendall(request)
    seconds = time.perf_counter() - started
    for client in received:
        client.close()
    return seconds, latencies


def _is_whole(buffer: bytearray) -> bool:
    if not buffer:
        raise RuntimeError("the server closed the connection")
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(buffer[:end]).lower()
    status = head[9:12]
    if status == b"304":
        return True
    if status != b"200":
        raise RuntimeError(f"unexpected answer: {bytes(buffer[:500])!r}")
    at = head.index(b"content-length:") + 15
    return len(buffer) >= end + 4 + int(head[at:].split(b"\r\n", 1)[0])


# --- Results ------------------------------------------------------------------------------------------


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The 50th percentile."""
    return percentile(values, 50)


def print_result(name: str, header: Sequence[str], rows: Sequence[Sequence[str]], **ratios: float) -> None:
    """A table for people, then one line of JSON for programs."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells))
    packages = {package: version(package) for package in ("tintype", "mcp", "uvicorn", "starlette", "pillow")}
    print(
        json.dumps(
            {
                "benchmark": name,
                **{key: round(value, 3) for key, value in ratios.items()},
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "versions": packages,
            }
        )
    )


def milliseconds(seconds: float) -> str:
    """Seconds as a table cell."""
    return f"{seconds * 1000:.2f} ms"
