"""A tool to watch, its calls, and a collector of spans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tintype_server.runtime import Runtime, everything
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output, Plan, Request
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

SECRET = "hush-hush-argument"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
DISPATCH = "/api/v1/developer/_dispatch"


class ProbeArgs(Args):
    credits: int = 5
    text: str = ""


class ProbeResult(Result):
    text: str


class Probe:
    """A paid tool whose behaviour each test chooses."""

    def __init__(self) -> None:
        self.behave: Callable[[ProbeArgs, Call], Result | Output] = lambda a, _c: ProbeResult(text=a.text)

    def spec(self) -> ToolSpec:
        return ToolSpec(
            name="run_probe",
            title="Run a probe",
            category=Category.RESULTS,
            toolset="probe",
            description="Use when testing.",
            args=ProbeArgs,
            result=ProbeResult,
            required_role=Role.MEMBER,
            credit_cost=5,
            quote=lambda args, _call: Quote("probe", args.credits),
            idempotent=False,
            effect=Effect.SPEND,
            plan=lambda _args, _call: Plan(),
            handler=lambda args, call: self.behave(args, call),
        )


def request(runtime: Runtime, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "tool": "run_probe",
        "arguments": {"text": SECRET},
        "api_key": runtime.local_api_key(),
        "door": "toolkit",
        "files": everything(runtime.settings),
        "agent": "robot 2.0",
    }
    return Request(**{**values, **changes})


def owner_key(home: Path) -> str:
    key = saved_api_key(home)
    assert key is not None
    return key


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP receiver; yields its base URL and what came."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
