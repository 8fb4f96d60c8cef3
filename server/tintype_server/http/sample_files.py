"""Files of samples: ``PUT /_sample/{token}``. The token says of which sample and type; no key is needed.

What was put is checked, and belongs to the sample when 200 is the answer; anything else has left nothing.
Files that arrive while others are being stored are taken together, in one transaction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TypeAlias

import anyio
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tintype_server.http.uploads import IDLE_SECONDS, Body
from tintype_server.http.visibility import require_writable
from tintype_server.runtime import Runtime
from tintype_studio.errors import Conflict, TintypeError
from tintype_studio.multisensor.file_types import FileType, too_large
from tintype_studio.multisensor.links import FileSlot
from tintype_studio.storage.uploads import cut_off, slow_store

AT_ONCE = 64
"""Files that come in at the same time."""

HELD_BYTES = 1024**3
"""Of all files that come in at the same time: each is held whole until it is checked."""

PLACE_SECONDS = 60.0
"""How long a file waits for its turn."""

MOST_TOGETHER = 32
"""Files that are stored and recorded together."""

MOST_BYTES_TOGETHER = 64 * 1024 * 1024

WORKERS = 2
"""Threads that store: while one waits for the disk, the other checks."""

PAUSE_SECONDS = 1.0
"""Between two files of one upload: those who look at pictures afterwards rest meanwhile."""

Waiting: TypeAlias = tuple[FileSlot, bytes, "asyncio.Future[None]"]


class SampleRoutes:
    """Takes files of samples by signed link."""

    def __init__(self, runtime: Runtime) -> None:
        self._settings = runtime.settings
        self._links = runtime.studio.sample_links
        self._places: anyio.CapacityLimiter | None = None
        self._held = 0
        self._waiting: deque[Waiting] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._working = 0
        self._coming = 0
        self._upload: ExitStack | None = None

    async def put(self, request: Request) -> Response:
        """Take the body as the file of the link; what is refused is told as text."""
        try:
            require_writable(self._settings)
            slot = self._links.slot(request.path_params["token"])
            self._begin()
            try:
                data = await self._body(request, slot.kind)
                try:
                    await self._store(slot, data)
                finally:
                    self._held -= len(data)
            finally:
                self._end()
        except TintypeError as error:
            # Not 409, which clients try again for a minute: the sample will not change its mind.
            status = 422 if isinstance(error, Conflict) else error.status
            return PlainTextResponse(f"{error.message} {error.fix}", status)
        return Response(status_code=200)

    def _begin(self) -> None:
        self._coming += 1
        if self._upload is None:
            self._upload = ExitStack()
            self._upload.enter_context(self._links.uploading())

    def _end(self) -> None:
        self._coming -= 1
        if not self._coming:
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._rest)

    def _rest(self) -> None:
        """The upload is over, unless more files came."""
        if not self._coming and self._upload is not None:
            upload, self._upload = self._upload, None
            upload.close()

    async def _store(self, slot: FileSlot, data: bytes) -> None:
        """Have a file stored with those that wait beside it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((slot, data, done))
        if self._working < WORKERS:
            self._working += 1
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        await done

    async def _work(self) -> None:
        try:
            await self._store_all()
        finally:
            # Not in a callback of the task: a file that comes before it runs would wait for nobody.
            self._working -= 1

    async def _store_all(self) -> None:
        while self._waiting:
            batch, size = list[Waiting](), 0
            while self._waiting and len(batch) < MOST_TOGETHER and size < MOST_BYTES_TOGETHER:
                batch.append(self._waiting.popleft())
                size += len(batch[-1][1])
            outcomes: Sequence[bool | Exception]
            try:
                outcomes = await to_thread.run_sync(
                    self._links.receive_many, [(slot, data) for slot, data, _ in batch]
                )
            except Exception as error:
                outcomes = [error] * len(batch)
            for (_, _, done), outcome in zip(batch, outcomes, strict=True):
                if done.done():  # the sender went away; its file is there
                    continue
                if isinstance(outcome, Exception):
                    done.set_exception(outcome)
                else:
                    done.set_result(None)

    async def _body(self, request: Request, kind: FileType) -> bytes:
        """The body, whose bytes count as held until the caller gives them up."""
        if self._places is None:  # a limiter belongs to a running event loop
            self._places = anyio.CapacityLimiter(AT_ONCE)
        body = Body(request)
        try:
            self._places.acquire_on_behalf_of_nowait(body)
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(PLACE_SECONDS):
                    await self._places.acquire_on_behalf_of(body)
            except TimeoutError:
                raise slow_store() from None
        try:
            async with body.drained():
                declared = request.headers.get("content-length", "")
                if declared.isdecimal() and int(declared) > kind.max_bytes:
                    raise too_large(kind, int(declared))
                return await self._read(body, kind)
        finally:
            self._places.release_on_behalf_of(body)

    async def _read(self, body: Body, kind: FileType) -> bytes:
        held, chunks, whole = 0, list[bytes](), False
        try:
            async with asyncio.timeout(IDLE_SECONDS) as patience:
                async for chunk in body.plain_chunks():
                    held += len(chunk)
                    self._held += len(chunk)
                    if held > kind.max_bytes:
                        raise too_large(kind)
                    if self._held > HELD_BYTES:
                        raise slow_store()
                    chunks.append(chunk)
                    patience.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS)
            whole = True
        except TimeoutError:
            raise cut_off() from None
        finally:
            if not whole:
                self._held -= held
        return b"".join(chunks)
