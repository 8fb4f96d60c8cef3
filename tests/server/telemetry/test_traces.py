"""OpenTelemetry spans: names, parents, errors, and a real OTLP receiver."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.doors import serve, stop
from support.telemetry import (
    DISPATCH,
    SECRET,
    SPAN_ID,
    TRACE_ID,
    TRACEPARENT,
    Probe,
    ProbeArgs,
    ProbeResult,
    collector,
    owner_key,
    request,
)

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.runtime import Runtime
from tintype_server.telemetry.observe import observing
from tintype_server.telemetry.traces import Traces, trace_context
from tintype_studio.errors import TintypeError
from tintype_tools.call import Call
from tintype_tools.registry import Registry
from tintype_tools.spec import Result


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(memory: InMemorySpanExporter) -> Iterator[Traces]:
    opened = Traces(memory)
    yield opened
    opened.close()


@pytest.fixture
def traced(runtime: Runtime, registry: Registry, traces: Traces) -> Dispatcher:
    return Dispatcher(runtime.studio, registry, runtime.settings, around=(observing([traces]),))


def spans(traces: Traces, memory: InMemorySpanExporter) -> list[ReadableSpan]:
    """All finished spans, in the order of their ends. The traces are closed."""
    traces.close()
    return list(memory.get_finished_spans())


def parent_of(span: ReadableSpan) -> tuple[str, str] | None:
    """Trace and span of the parent, in hexadecimal digits."""
    if span.parent is None:
        return None
    return trace.format_trace_id(span.parent.trace_id), trace.format_span_id(span.parent.span_id)


def test_a_call_is_one_span(
    runtime: Runtime, traced: Dispatcher, traces: Traces, memory: InMemorySpanExporter
) -> None:
    made = traced(request(runtime, door="stdio", session="night"))
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    [span] = spans(traces, memory)
    assert (span.name, span.kind, span.status.status_code) == (
        "tintype.call run_probe",
        trace.SpanKind.SERVER,
        trace.StatusCode.UNSET,
    )
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "run_probe",
        "mcp.method.name": "tools/call",
        "network.transport": "pipe",
        "tintype.agent": "robot 2.0",
        "tintype.call.id": made.call_id,
        "tintype.credits": 5,
        "tintype.door": "stdio",
        "tintype.dry_run": False,
        "tintype.key.prefix": owner.key_prefix,
        "tintype.organization.id": owner.organization_uuid,
        "tintype.outcome": "ok",
        "tintype.replayed": False,
        "tintype.role": "owner",
        "tintype.session": "night",
    }
    assert span.resource.attributes["service.name"] == "tintype"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tool": "get_dataset", "arguments": {"name": SECRET}}, "dataset_not_found"),
        ({"arguments": {SECRET: 1}}, "invalid_arguments"),
        ({"api_key": SECRET}, "invalid_key"),
        ({"arguments": {"text": "raise"}}, "internal"),
    ],
)
def test_a_refusal_is_an_error_with_its_code_and_no_text(
    runtime: Runtime,
    traced: Dispatcher,
    traces: Traces,
    memory: InMemorySpanExporter,
    probe: Probe,
    changes: dict[str, Any],
    code: str,
) -> None:
    def fail(_args: ProbeArgs, _call: Call) -> Result:
        raise RuntimeError(SECRET)

    probe.behave = fail
    with pytest.raises(TintypeError):
        traced(request(runtime, **changes))
    [span] = spans(traces, memory)
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, code)
    assert (span.attributes or {})["error.type"] == code
    assert (span.attributes or {})["tintype.outcome"] == code
    assert SECRET not in span.to_json()
    assert runtime.local_api_key() not in span.to_json()


def test_a_dry_run_and_a_replay_are_told_apart_from_the_real_call(
    runtime: Runtime, traced: Dispatcher, traces: Traces, memory: InMemorySpanExporter
) -> None:
    for dry_run in (True, False, False):
        traced(request(runtime, dry_run=dry_run, idempotency_key="k"))
    names = ("tintype.dry_run", "tintype.replayed", "tintype.credits")
    assert [tuple((s.attributes or {})[name] for name in names) for s in spans(traces, memory)] == [
        (True, False, 0),
        (False, False, 5),
        (False, True, 0),
    ]


def test_an_unknown_tool_is_not_a_name_of_its_own(
    runtime: Runtime, traced: Dispatcher, traces: Traces, memory: InMemorySpanExporter
) -> None:
    with pytest.raises(TintypeError):
        traced(request(runtime, tool=SECRET))
    [span] = spans(traces, memory)
    assert span.name == "tintype.call unknown"
    assert SECRET not in span.to_json()


@pytest.mark.parametrize(
    ("door", "kind"),
    [("http", trace.SpanKind.SERVER), ("dispatch", trace.SpanKind.SERVER), ("cli", trace.SpanKind.INTERNAL)],
)
def test_the_kind_is_the_doors(
    runtime: Runtime,
    traced: Dispatcher,
    traces: Traces,
    memory: InMemorySpanExporter,
    door: str,
    kind: trace.SpanKind,
) -> None:
    traced(request(runtime, door=door))
    [span] = spans(traces, memory)
    assert span.kind is kind
    assert ("mcp.method.name" in (span.attributes or {})) == (door == "http")


def test_the_callers_trace_goes_on(
    runtime: Runtime, traced: Dispatcher, traces: Traces, memory: InMemorySpanExporter
) -> None:
    traced(request(runtime, trace={"traceparent": TRACEPARENT, "tracestate": "vendor=1"}))
    [span] = spans(traces, memory)
    assert parent_of(span) == (TRACE_ID, SPAN_ID)
    assert span.get_span_context().trace_state.get("vendor") == "1"
    assert list(span.links) == []


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{SPAN_ID}-01", "ff" + TRACEPARENT[2:]])
def test_a_broken_trace_context_starts_a_trace_of_its_own(
    runtime: Runtime, traced: Dispatcher, traces: Traces, memory: InMemorySpanExporter, header: str
) -> None:
    traced(request(runtime, trace={"traceparent": header}))
    [span] = spans(traces, memory)
    assert parent_of(span) is None


def test_in_a_hosts_own_span_a_call_is_its_child(
    runtime: Runtime, traced: Dispatcher, traces: Traces, memory: InMemorySpanExporter
) -> None:
    here = trace.SpanContext(int(TRACE_ID, 16), int(SPAN_ID, 16), False, trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(here)))
    try:
        traced(request(runtime))
        traced(request(runtime, trace={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}))
        assert trace.get_current_span().get_span_context() == here
    finally:
        context.detach(token)
    child, linked = spans(traces, memory)
    assert parent_of(child) == (TRACE_ID, SPAN_ID)
    assert parent_of(linked) == ("a" * 32, "b" * 16)
    assert [link.context for link in linked.links] == [here]


def test_a_call_that_a_call_makes_stands_under_it(
    runtime: Runtime, traced: Dispatcher, traces: Traces, memory: InMemorySpanExporter, probe: Probe
) -> None:
    def call_on(_args: ProbeArgs, call: Call) -> Result:
        call.call_tool("list_datasets", {})
        return ProbeResult(text="")

    probe.behave = call_on
    traced(request(runtime, trace={"traceparent": TRACEPARENT}))
    inner, outer = spans(traces, memory)
    assert parent_of(outer) == (TRACE_ID, SPAN_ID)
    assert parent_of(inner) == (TRACE_ID, trace.format_span_id(outer.get_span_context().span_id))


@pytest.mark.parametrize(
    ("carrier", "found"),
    [
        ({}, None),
        ({"tracestate": "a=1"}, None),
        ({"traceparent": 7}, None),
        ({"traceparent": TRACEPARENT, "progressToken": 1}, {"traceparent": TRACEPARENT}),
        (
            {"traceparent": TRACEPARENT, "tracestate": "a=1"},
            {"traceparent": TRACEPARENT, "tracestate": "a=1"},
        ),
        ({"traceparent": TRACEPARENT, "tracestate": ["a=1"]}, {"traceparent": TRACEPARENT}),
    ],
)
def test_a_trace_context_is_read_from_headers_and_from_meta(
    carrier: dict[str, Any], found: dict[str, str] | None
) -> None:
    assert trace_context(carrier) == found


class Stuck(SpanExporter):
    """A collector that takes and never answers."""

    def __init__(self) -> None:
        self.leave = threading.Event()

    def export(self, _spans: Any) -> SpanExportResult:
        self.leave.wait(60)
        return SpanExportResult.FAILURE


def test_a_collector_that_hangs_does_not_hold_up_the_end(runtime: Runtime, registry: Registry) -> None:
    collector = Stuck()
    traces = Traces(collector)
    traced = Dispatcher(runtime.studio, registry, runtime.settings, around=(observing([traces]),))
    traced(request(runtime))
    started = time.monotonic()
    traces.close()
    assert time.monotonic() - started < 20
    collector.leave.set()


def test_a_running_server_sends_its_spans_and_takes_the_http_callers_trace(home: Path) -> None:
    with collector() as (endpoint, received):
        env = {
            "TINTYPE_TRACES": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=cameras,deployment.environment.name=test",
        }
        process, url = serve(home, env=env)
        headers = {"X-API-Key": owner_key(home), "traceparent": TRACEPARENT}
        httpx.post(f"{url}{DISPATCH}/list_datasets", json={}, headers=headers).raise_for_status()
        stop(process)
    [resource] = [r for message in received for r in message.resource_spans]
    [span] = [s for scope in resource.scope_spans for s in scope.spans]
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert (attributes["service.name"], attributes["deployment.environment.name"]) == ("cameras", "test")
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == (
        "tintype.call list_datasets",
        TRACE_ID,
        SPAN_ID,
    )
