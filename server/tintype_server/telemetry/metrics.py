"""Prometheus metrics of this process's calls, and of what waits in the database.

Labels are bounded: tools of the registry, our doors, our error codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tintype_server.dispatch.running import RunningCall, log
from tintype_server.telemetry.observe import Ending, Finish, tool_label
from tintype_studio.errors import RateLimited
from tintype_studio.history.backlog import count_waiting
from tintype_studio.storage.database import Database

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Upper bounds of the histogram's buckets: from a quick read to an upload of a large folder."""


class Metrics:
    """Counts calls into a registry of its own, so that several workspaces fit in one process."""

    def __init__(self, database: Database) -> None:
        """``ModuleNotFoundError`` without the extra ``telemetry``."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = CollectorRegistry()
        self._calls = Counter(
            "tintype_calls",
            "Calls that have ended, by how: ok or the error's code.",
            ("tool", "door", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tintype_call_seconds",
            "How long calls took.",
            ("tool",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._credits = Counter(
            "tintype_credits_charged", "Whole credits charged.", ("tool",), registry=self.registry
        )
        self._in_flight = Gauge("tintype_calls_in_flight", "Calls that run now.", registry=self.registry)
        self._limited = Counter(
            "tintype_rate_limited",
            "Calls refused because a key made too many in an hour or at once.",
            registry=self.registry,
        )
        self.registry.register(_Waiting(database))
        ProcessCollector(registry=self.registry)

    def begin(self, call: RunningCall) -> Finish:
        """Count the call as running."""
        self._in_flight.inc()

        def finish(ending: Ending) -> None:
            self._in_flight.dec()
            tool = tool_label(call)
            self._calls.labels(tool, call.request.door, ending.outcome).inc()
            self._seconds.labels(tool).observe(ending.seconds)
            if ending.credits:
                self._credits.labels(tool).inc(ending.credits)
            if isinstance(ending.error, RateLimited):
                self._limited.inc()

        return finish

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an ``Accept`` header asks for; returns ``(body, content type)``.

        Reads the database.
        """
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Waiting:
    """Gauges that are read when they are asked for."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        try:
            waiting = count_waiting(self._db)
        except Exception:
            # Two numbers less; the others must not be lost with them.
            log.exception("what waits could not be counted")
            return
        yield GaugeMetricFamily("tintype_holds", "Credit holds of running calls.", value=waiting.holds)
        yield GaugeMetricFamily(
            "tintype_approvals_pending", "Calls that wait for a person.", value=waiting.approvals
        )
