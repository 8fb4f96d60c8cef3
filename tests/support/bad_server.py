"""A door to a server that loses answers, is too busy, or is no server of ours."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


@dataclass
class BadServer:
    """Hands requests on to ``behind``; ``troubles`` are met first, one a call."""

    behind: str
    url: str = ""
    troubles: list[str | tuple[int, dict[str, str], str]] = field(default_factory=list)
    """``lost``: the call is made and its answer lost; ``cut``: the answer stops half-way; ``dropped``: the
    call never arrives; or a status, headers and a body."""
    stranger: str | None = None
    """What every GET is answered with, instead."""
    calls: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def open_bad_server(behind: str) -> Iterator[BadServer]:
    bad = BadServer(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            if bad.stranger is None:
                self._hand_on("GET", b"")
            else:
                self._answer(200, {}, bad.stranger.encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            bad.calls.append({"path": self.path, "headers": headers, "body": body})
            trouble = bad.troubles.pop(0) if bad.troubles else None
            if isinstance(trouble, tuple):
                status, headers, text = trouble
                self._answer(status, headers, text.encode())
            elif trouble == "dropped":
                self._hang_up()
            else:
                self._hand_on("POST", body, trouble)

        def _hand_on(self, method: str, body: bytes, trouble: str | None = None) -> None:
            kept = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "content-length"}}
            reply = httpx.request(method, bad.behind + self.path, headers=kept, content=body, timeout=30)
            if trouble == "lost":
                self._hang_up()
                return
            headers = {
                k: v
                for k, v in reply.headers.items()
                if k.lower() not in {"content-length", "connection", "date"}
            }
            if trouble == "cut":
                self.send_response(200)
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content[: len(reply.content) // 2])
                self._hang_up()
                return
            self._answer(reply.status_code, headers, reply.content)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _hang_up(self) -> None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bad.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield bad
    finally:
        server.shutdown()
        server.server_close()
