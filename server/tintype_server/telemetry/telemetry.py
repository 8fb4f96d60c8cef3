"""Puts together what the settings ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tintype_server.dispatch.running import Guard
from tintype_server.settings import Settings
from tintype_server.telemetry.observe import Observer, observing
from tintype_studio.errors import Unavailable
from tintype_studio.extras import install_command
from tintype_studio.studio import Studio

if TYPE_CHECKING:
    from tintype_server.telemetry.metrics import Metrics
    from tintype_server.telemetry.traces import Traces


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What watches the calls of a workspace."""

    around: tuple[Guard, ...] = ()
    """For the dispatcher; empty when nothing is asked for, so that nothing is paid."""
    metrics: Metrics | None = None
    traces: Traces | None = None

    @classmethod
    def open(cls, settings: Settings, studio: Studio) -> Telemetry:
        """``Unavailable`` (``extra_missing``) when what is asked for is not installed."""
        observers: list[Observer] = []
        metrics: Metrics | None = None
        traces: Traces | None = None
        # Traces come first: while the others work, the call's span is the current one.
        if settings.traces:
            traces = _open_traces()
            observers.append(traces)
        if settings.metrics:
            metrics = _open_metrics(studio)
            observers.append(metrics)
        if settings.log_format == "json":
            from tintype_server.telemetry.logs import CallLog, write_json_to_stderr

            write_json_to_stderr()
            observers.append(CallLog(trace_id=traces.current_trace_id if traces else None))
        return cls((observing(observers),) if observers else (), metrics, traces)

    def flush(self) -> None:
        """Send what waits, for two seconds at most."""
        if self.traces is not None:
            self.traces.flush()

    def close(self) -> None:
        """Send what is left, for two seconds at most, and stop."""
        if self.traces is not None:
            self.traces.close()


def _open_traces() -> Traces:
    from tintype_server.telemetry.traces import Traces

    try:
        return Traces()
    except ModuleNotFoundError as error:
        raise _extra_missing("TRACES", error) from error


def _open_metrics(studio: Studio) -> Metrics:
    from tintype_server.telemetry.metrics import Metrics

    try:
        return Metrics(studio.database)
    except ModuleNotFoundError as error:
        raise _extra_missing("METRICS", error) from error


def _extra_missing(setting: str, error: ModuleNotFoundError) -> Unavailable:
    return Unavailable(
        f"TINTYPE_{setting} is on, but {error.name!r} is not installed.",
        code="extra_missing",
        fix=f"Run {install_command('telemetry')}, or unset TINTYPE_{setting}.",
        retryable=False,
    )
