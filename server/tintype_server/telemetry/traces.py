"""OpenTelemetry spans: one per call, sent as OTLP over HTTP.

Names follow OpenTelemetry's conventions for MCP and generative AI where there are any (status: development,
open-telemetry/semantic-conventions-genai 0.1), else they begin with ``tintype.``. Arguments, answers and
error messages are never recorded.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tintype_server.dispatch.running import RunningCall
from tintype_server.telemetry.observe import Ending, Finish, tool_label
from tintype_studio.errors import InvalidInput
from tintype_studio.names import printable

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Link

FLUSH_SECONDS = 2.0
"""How long the end of a process waits for a collector that does not answer."""
MCP_DOORS = frozenset({"stdio", "http", "sse"})
LOCAL_DOORS = frozenset({"toolkit", "cli"})
TRACE_FIELDS = ("traceparent", "tracestate")


class Traces:
    """Makes spans; with the provider of a host that has set up OpenTelemetry for its process, if it has."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        """``exporter`` instead of the one that the ``OTEL_*`` variables configure.

        ``ModuleNotFoundError`` without the extra ``telemetry``, ``InvalidInput`` for an ``OTEL_*`` variable
        that cannot be used.
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        ambient = trace.get_tracer_provider()
        self._own: TracerProvider | None = None
        if exporter is not None or not isinstance(ambient, TracerProvider):
            self._own = _provider(exporter)
            atexit.register(self.close)
        self._tracer = (self._own or ambient).get_tracer("tintype", version("tintype"))
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, call: RunningCall) -> Finish:
        """Start the call's span and make it the current one."""
        from opentelemetry import context, trace

        tool = tool_label(call)
        # A call that another call makes belongs under that one.
        parent, links = self._parent(None if call.request.nested else call.request.trace)
        span = self._tracer.start_span(
            f"tintype.call {tool}",
            context=parent,
            kind=trace.SpanKind.INTERNAL if call.request.door in LOCAL_DOORS else trace.SpanKind.SERVER,
            attributes=_on_start(call, tool),
            links=links,
        )
        token = context.attach(trace.set_span_in_context(span, parent))

        def finish(ending: Ending) -> None:
            try:
                span.set_attributes(_at_end(call, ending))
                if ending.outcome != "ok":
                    span.set_status(trace.StatusCode.ERROR, ending.outcome)
            finally:
                span.end()
                context.detach(token)

        return finish

    def _parent(self, carrier: dict[str, str] | None) -> tuple[Context | None, list[Link]]:
        """The caller's span as the parent, with a link to what is current here; else what is current."""
        from opentelemetry import context, trace

        here = trace.get_current_span().get_span_context()
        if carrier is None:
            return None, []
        parent = self._propagator.extract(carrier, context.get_current())
        theirs = trace.get_current_span(parent).get_span_context()
        return parent, [trace.Link(here)] if here.is_valid and theirs != here else []

    def current_trace_id(self) -> str | None:
        """The current span's trace, 32 hexadecimal digits."""
        from opentelemetry import trace

        here = trace.get_current_span().get_span_context()
        return trace.format_trace_id(here.trace_id) if here.is_valid else None

    def flush(self) -> None:
        """Send what waits; gives up after ``FLUSH_SECONDS``."""
        if self._own is not None:
            _for_a_while(self._own.force_flush)

    def close(self) -> None:
        """Send what waits and stop; gives up after ``FLUSH_SECONDS``."""
        own, self._own = self._own, None
        if own is not None:
            atexit.unregister(self.close)
            _for_a_while(own.shutdown)


def _for_a_while(send: Callable[[], object]) -> None:
    """The SDK's own waiting goes on for as long as it retries."""
    sending = threading.Thread(target=send, name="traces", daemon=True)
    sending.start()
    sending.join(FLUSH_SECONDS)


def trace_context(carrier: Mapping[str, Any]) -> dict[str, str] | None:
    """``Request.trace`` from headers or from MCP's ``_meta``: the W3C trace context; None without one."""
    found = {name: value for name in TRACE_FIELDS if isinstance(value := carrier.get(name), str)}
    return found if "traceparent" in found else None


def _provider(exporter: SpanExporter | None) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    try:
        named = OTELResourceDetector().detect().attributes
        provider = TracerProvider(
            resource=Resource.create(
                {"service.name": "tintype", "service.version": version("tintype"), **named}
            ),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    except (ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"An OTEL_* variable cannot be used: {error}",
            code="invalid_setting",
            fix="Correct it, or unset it for OpenTelemetry's default.",
        ) from error
    return provider


def _on_start(call: RunningCall, tool: str) -> dict[str, str]:
    door = call.request.door
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "tintype.call.id": call.id,
        "tintype.door": door,
    }
    if door in MCP_DOORS:
        attributes["mcp.method.name"] = "tools/call"
    if door not in LOCAL_DOORS:
        attributes["network.transport"] = "pipe" if door == "stdio" else "tcp"
    if call.request.agent:
        attributes["tintype.agent"] = printable(call.request.agent[:120])
    return attributes


def _at_end(call: RunningCall, ending: Ending) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {
        "tintype.outcome": ending.outcome,
        "tintype.credits": ending.credits,
        "tintype.replayed": ending.replayed,
        "tintype.dry_run": call.request.dry_run,
    }
    if ending.outcome != "ok":
        attributes["error.type"] = ending.outcome
    principal = call.known_principal
    if principal is not None:
        attributes["tintype.key.prefix"] = principal.key_prefix
        attributes["tintype.role"] = principal.role.value
        attributes["tintype.organization.id"] = principal.organization_uuid
        if principal.session is not None:
            attributes["tintype.session"] = principal.session
    return attributes
