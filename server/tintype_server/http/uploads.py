"""Signed uploads: ``PUT /_upload/{token}``. The token says where to, and how much; no key is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tintype_server.http.visibility import require_writable
from tintype_server.runtime import Runtime
from tintype_studio.errors import TintypeError
from tintype_studio.storage.uploads import cut_off, slow_store, too_large

AT_ONCE = 64
"""Files that come in at the same time; each holds up to two parts in memory."""

PLACE_SECONDS = 20.0
"""How long a file waits for its turn."""

IDLE_SECONDS = 60.0
"""How long a sender may be silent."""

DRAINED_BYTES = 64 * 1024 * 1024
"""What is still read of a file that is refused: a sender that is cut off does not see the answer."""


class UploadRoutes:
    """Takes files by signed link."""

    def __init__(self, runtime: Runtime) -> None:
        self._settings = runtime.settings
        self._uploads = runtime.studio.uploads
        self._places: anyio.CapacityLimiter | None = None

    async def put(self, request: Request) -> Response:
        """Store the body, with a length or chunked; 200 once it is whole."""
        require_writable(self._settings)
        slot = self._uploads.slot(request.path_params["token"])
        if self._places is None:  # a limiter belongs to a running event loop
            self._places = anyio.CapacityLimiter(AT_ONCE)
        places = self._places
        try:
            with anyio.fail_after(PLACE_SECONDS):
                await places.acquire_on_behalf_of(request)
        except TimeoutError:
            raise slow_store() from None
        body = _Body(request)
        try:
            declared = request.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > slot.max_bytes:
                raise too_large(slot)
            await self._uploads.receive(slot, body.chunks())
        except TintypeError:
            await body.drain()
            raise
        finally:
            places.release_on_behalf_of(request)
        return Response(status_code=200)


class _Body:
    """The body of a request, read once."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()
        self._ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """In pieces, as they come."""
        try:
            while True:
                with anyio.fail_after(IDLE_SECONDS):
                    chunk = await anext(self._stream)
                if chunk:
                    yield chunk
        except StopAsyncIteration:
            self._ended = True
        except (ClientDisconnect, TimeoutError):
            self._ended = True
            raise cut_off() from None

    async def drain(self) -> None:
        """Read on without keeping anything."""
        left = DRAINED_BYTES
        with anyio.move_on_after(IDLE_SECONDS):
            try:
                async for chunk in self._stream:
                    left -= len(chunk)
                    if left < 0:
                        return
            except (ClientDisconnect, RuntimeError):
                return
