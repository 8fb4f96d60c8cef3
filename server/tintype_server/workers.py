"""Runs calls for async doors: in worker threads, so many at a time.

The way to a thread and back costs more than a quick read (``ToolSpec.quick_unless``); such a call runs on
the event loop when nothing in it can wait: its key was checked a moment ago, and the database is a local
SQLite file, whose readers no writer blocks. What is cut from its answer is parked by a write, so that part
is left to a thread.

A call whose caller went away keeps its place until its thread really ends; otherwise a crowd of callers
that hang up could start threads without limit.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio
from anyio import to_thread

from tintype_server.dispatch.guards.shape import left_over
from tintype_server.runtime import Runtime
from tintype_server.settings import DEFAULT_RESPONSE_TOKENS
from tintype_studio.history.results import Packed
from tintype_tools.call import Outcome, Request

MAX_CALLS_AT_ONCE = 40

T = TypeVar("T")


class Workers:
    """A door's worker threads."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._places: anyio.CapacityLimiter | None = None
        self._threads: anyio.CapacityLimiter | None = None

    async def run(self, request: Request) -> Outcome:
        """Run one call. When the awaiting task is cancelled, the call is told and this returns at once."""
        if not self._is_quick(request):
            return await self._in_thread(partial(self._runtime.dispatch, request), request.cancelled)
        with left_over() as parcels:
            outcome = self._runtime.dispatch(request)
        if parcels:
            await self._in_thread(partial(self._keep, parcels), request.cancelled)
        return outcome

    async def do(self, work: Callable[[], T]) -> T:
        """Run something short that is no call, such as a lookup before one."""
        return await self._in_thread(work, threading.Event())

    def _keep(self, parcels: list[Packed]) -> None:
        for packed in parcels:
            self._runtime.studio.results.keep(packed)

    async def _in_thread(self, work: Callable[[], T], cancelled: threading.Event) -> T:
        """Do the work in a thread when there is a place; ``cancelled`` is set once nobody waits for it."""
        if self._places is None or self._threads is None:  # limiters belong to a running event loop
            self._places = anyio.CapacityLimiter(MAX_CALLS_AT_ONCE)
            self._threads = anyio.CapacityLimiter(math.inf)
        places, loop = self._places, asyncio.get_running_loop()
        place, started = object(), False
        await places.acquire_on_behalf_of(place)

        def run() -> T:
            nonlocal started
            started = True
            try:
                return work()
            finally:
                with suppress(RuntimeError):  # the loop is closed: the server has stopped
                    loop.call_soon_threadsafe(places.release_on_behalf_of, place)

        try:
            return await to_thread.run_sync(run, abandon_on_cancel=True, limiter=self._threads)
        finally:
            cancelled.set()
            if not started:
                places.release_on_behalf_of(place)

    def _is_quick(self, request: Request) -> bool:
        runtime = self._runtime
        if request.tool not in runtime.registry or not runtime.studio.database.is_sqlite:
            return False
        principal = runtime.studio.keys.cached(request.api_key)
        if principal is None or request.dry_run:
            return False
        budget = request.max_response_tokens
        if budget is None:
            budget = runtime.settings.max_response_tokens
        for limit in (budget, principal.max_response_tokens or 0):
            if 0 < limit < DEFAULT_RESPONSE_TOKENS:
                return False  # the answer is likely to be cut, and what is cut needs a thread
        longer = runtime.registry.get(request.tool).quick_unless
        return longer is not None and longer.isdisjoint(request.arguments)
