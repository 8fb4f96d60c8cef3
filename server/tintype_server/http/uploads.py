"""Signed uploads: ``PUT /_upload/{token}``, or ``POST /_upload`` of a form with the token and the file; and
``PUT /_part/{token}`` of a part of a large one.

The token says where to, and how much; no key is needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tintype_server.http.form_file import MAX_BYTES_BEFORE, FormFile
from tintype_server.http.visibility import require_writable
from tintype_server.runtime import Runtime
from tintype_studio.errors import TintypeError
from tintype_studio.snapshots.uploads import part_too_large
from tintype_studio.storage.uploads import Slot, cut_off, slow_store, too_large

AT_ONCE = 64
"""Files that come in at the same time; each holds up to two parts in memory."""

PLACE_SECONDS = 20.0
"""How long a file waits for its turn."""

IDLE_SECONDS = 60.0
"""How long a sender may be silent."""

DRAINED_BYTES = 64 * 1024 * 1024
"""What is still read of a file that is refused: a sender that is cut off does not see the answer."""

FIELDS_SECONDS = 60.0
"""How long the fields of a form may take, the link among them."""


class UploadRoutes:
    """Takes files by signed link."""

    def __init__(self, runtime: Runtime) -> None:
        self._settings = runtime.settings
        self._uploads = runtime.studio.uploads
        self._parts = runtime.studio.snapshots.parts
        self._receiving = runtime.studio.snapshots.receiving
        self._places: anyio.CapacityLimiter | None = None

    async def put(self, request: Request) -> Response:
        """Store the body, with a length or chunked; 200 once it is whole."""
        require_writable(self._settings)
        slot = self._uploads.slot(request.path_params["token"])
        async with self._place(Body(request)) as body:
            _require_declared(request, slot)
            await self._uploads.receive(slot, body.chunks())
        return Response(status_code=200)

    async def put_part(self, request: Request) -> Response:
        """Store a part of a large file; 200 with its ETag once it is whole."""
        require_writable(self._settings)
        slot = self._parts.slot(request.path_params["token"])
        async with self._place(Body(request)) as body:
            declared = request.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > slot.size:
                raise part_too_large(slot)
            await to_thread.run_sync(self._receiving.require_waiting, slot.upload_id)
            etag = await self._parts.receive(slot, body.chunks())
        return Response(status_code=200, headers={"ETag": f'"{etag}"'})

    async def post(self, request: Request) -> Response:
        """Store the file of a form whose field ``token`` is that of a link; 204 once it is whole."""
        require_writable(self._settings)
        body = Body(request)
        # A form holds no place before its link is known to be one: else anybody could hold them all.
        async with body.drained():
            form = FormFile(request.headers.get("content-type", ""), body.chunks())
            try:
                with anyio.fail_after(FIELDS_SECONDS):
                    fields = await form.fields()
            except TimeoutError:
                raise cut_off() from None
            slot = self._uploads.slot(fields.get("token", ""))
            _require_declared(request, slot, MAX_BYTES_BEFORE)
        async with self._place(body):
            await self._uploads.receive(slot, form.chunks())
            await body.drain()
        return Response(status_code=204)

    @asynccontextmanager
    async def _place(self, body: Body) -> AsyncIterator[Body]:
        """A body when it is its turn; what is refused of it is read away."""
        if self._places is None:  # a limiter belongs to a running event loop
            self._places = anyio.CapacityLimiter(AT_ONCE)
        places = self._places
        try:
            with anyio.fail_after(PLACE_SECONDS):
                await places.acquire_on_behalf_of(body)
        except TimeoutError:
            raise slow_store() from None
        try:
            async with body.drained():
                yield body
        finally:
            places.release_on_behalf_of(body)


def _require_declared(request: Request, slot: Slot, around: int = 0) -> None:
    """Refuse a body that is longer than the slot takes, before it comes; ``around`` is for what wraps it."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > slot.max_bytes + around:
        raise too_large(slot)


class Body:
    """The body of a request, read once, for routes that take files."""

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

    async def plain_chunks(self) -> AsyncIterator[bytes]:
        """As ``chunks``, for a caller that has a time limit of its own."""
        try:
            async for chunk in self._stream:
                if chunk:
                    yield chunk
        except ClientDisconnect:
            raise cut_off() from None

    @asynccontextmanager
    async def drained(self) -> AsyncIterator[None]:
        """When the block refuses the body, the rest of it is read away."""
        try:
            yield
        except TintypeError:
            await self.drain()
            raise

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
