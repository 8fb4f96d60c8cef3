"""``GET /metrics``: the numbers of the whole server, for its operator's Prometheus."""

from __future__ import annotations

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from tintype_server.http.credentials import api_key_of
from tintype_server.runtime import Runtime
from tintype_server.telemetry.metrics import Metrics
from tintype_studio.errors import Forbidden
from tintype_studio.history.backlog import runs_the_server


class MetricsRoute:
    """The endpoint. There is no way in without a key, not even from this machine: behind a reverse proxy
    every request comes from this machine.
    """

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._studio = runtime.studio
        self._metrics = metrics

    async def get(self, request: Request) -> Response:
        """Prometheus text, or OpenMetrics if the ``Accept`` header asks for it."""
        accept = request.headers.get("accept", "")
        # In a thread: it reads the database.
        return await to_thread.run_sync(self._scrape, api_key_of(request), accept)

    def _scrape(self, api_key: str | None, accept: str) -> Response:
        principal = self._studio.keys.authenticate(api_key)
        if not runs_the_server(self._studio.database, principal):
            raise Forbidden(
                "The metrics are of the whole server; this key does not belong to an admin who runs it.",
                fix="Use a key with the role admin of the organization that the workspace was made with.",
            )
        body, content_type = self._metrics.exposition(accept)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
