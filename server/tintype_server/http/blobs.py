"""Signed downloads: ``GET /_blob/{token}``. The token says which bytes, and until when."""

from __future__ import annotations

from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tintype_server.runtime import Runtime
from tintype_studio.errors import Forbidden


class BlobRoutes:
    """Serves blobs of a local store by signed URL."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def download(self, request: Request) -> Response:
        """The bytes, as an attachment: stored files are never rendered on this origin."""
        claims = self._runtime.studio.signer.claims(request.path_params["token"])
        if claims is None or claims.get("op") != "get":
            raise Forbidden(
                "This link is invalid or has expired.",
                code="invalid_link",
                fix="Call the tool that gave the link again for a fresh one.",
            )
        sha256 = str(claims["sha"])
        size = await to_thread.run_sync(self._runtime.studio.blobs.size, sha256)
        return StreamingResponse(
            self._runtime.studio.blobs.stream(sha256),
            media_type=str(claims["ct"]),
            headers={
                "Content-Length": str(size),
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(str(claims['fn']))}",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, max-age=3600",
            },
        )
