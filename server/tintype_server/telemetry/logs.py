"""Structured logs: one JSON object per line on stderr, one line per call.

A line never holds arguments, answers or secrets. What went wrong inside the server is told by the types of
the errors and where they were raised, without their texts, which can quote anything: a row, a key, a URL
with a password.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from tintype_server.dispatch.running import RunningCall
from tintype_server.telemetry.observe import Ending, Finish
from tintype_studio.names import printable

CALLS = "tintype.calls"
LOGGERS = ("tintype", "tintype_server", "tintype_tools", "tintype_studio", "opentelemetry")
"""Whose lines are written as JSON."""
MAX_CAUSES = 5
FIELDS = "tintype_fields"
"""Attribute of a log record with what stands beside its message."""

calls_log = logging.getLogger(CALLS)


class CallLog:
    """Writes the line of each call."""

    def __init__(self, trace_id: Callable[[], str | None] | None = None) -> None:
        """``trace_id`` tells the trace that a line belongs to."""
        self._trace_id = trace_id

    def begin(self, call: RunningCall) -> Finish:
        """Nothing yet."""

        def finish(ending: Ending) -> None:
            level = logging.ERROR if ending.outcome in {"internal", "stopped"} else logging.INFO
            calls_log.log(level, "call", extra={FIELDS: self._fields(call, ending)})

        return finish

    def _fields(self, call: RunningCall, ending: Ending) -> dict[str, Any]:
        principal, request = call.known_principal, call.request
        fields: dict[str, Any] = {
            "call_id": call.id,
            "tool": printable(request.tool[:80]),
            "door": request.door,
            "outcome": ending.outcome,
            "duration_ms": round(ending.seconds * 1000, 3),
            "credits": ending.credits,
            "key": principal.key_prefix if principal else None,
            "organization": principal.organization_uuid if principal else None,
            "agent": printable(request.agent[:120]) if request.agent else None,
            "session": principal.session if principal else None,
            "replayed": ending.replayed,
            "dry_run": request.dry_run,
            "nested": request.nested,
        }
        if self._trace_id is not None:
            fields["trace_id"] = self._trace_id()
        return fields


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """``time`` (UTC), ``level``, ``logger``, ``message``, the record's own fields, ``exception``."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _without_texts(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def _without_texts(error: BaseException) -> list[dict[str, Any]]:
    """The error and what caused it: types, and places as ``file:line function``, innermost last."""
    told: list[dict[str, Any]] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < MAX_CAUSES:
        frames = traceback.extract_tb(cause.__traceback__)
        told.append(
            {
                "type": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "at": [f"{f.filename}:{f.lineno} {f.name}" for f in frames],
            }
        )
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return told


def write_json_to_stderr() -> None:
    """Send the lines of this project's loggers to stderr as JSON, for the rest of the process."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if any(isinstance(handler.formatter, JsonLines) for handler in logger.handlers):
            continue
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
        logger.propagate = False
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
