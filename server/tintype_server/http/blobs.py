"""Signed downloads: ``GET /_blob/{token}``. The token says which bytes, and until when.

An image's link also gives a small JPEG of it, with ``?thumbnail=256``.
"""

from __future__ import annotations

from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tintype_server.runtime import Runtime
from tintype_studio.errors import Forbidden, InvalidInput

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}


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
        if "thumbnail" in request.query_params and str(claims["ct"]).startswith("image/"):
            return await self._thumbnail(sha256, request.query_params["thumbnail"])
        size = await to_thread.run_sync(self._runtime.studio.blobs.size, sha256)
        return StreamingResponse(
            self._runtime.studio.blobs.stream(sha256),
            media_type=str(claims["ct"]),
            headers={
                "Content-Length": str(size),
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(str(claims['fn']))}",
                **HEADERS,
            },
        )

    async def _thumbnail(self, sha256: str, size: str) -> Response:
        """``?thumbnail=256``: a JPEG whose longest side is about that many pixels."""
        if not size.isdecimal() or len(size) > 5:
            raise InvalidInput("thumbnail must be a number of pixels.", fix="Use ?thumbnail=256.")
        data = await to_thread.run_sync(self._runtime.studio.samples.thumbnail, sha256, int(size))
        return Response(data, media_type="image/jpeg", headers=HEADERS)
