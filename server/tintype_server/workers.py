"""Runs calls for async doors: in worker threads, so many at a time, and never on the event loop's account.

A call whose caller went away keeps its place until its thread really ends; otherwise a crowd of callers
that hang up could start threads without limit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

import anyio
from anyio import to_thread

from tintype_tools.call import Outcome, Request

MAX_CALLS_AT_ONCE = 40


class Workers:
    """A door's worker threads."""

    def __init__(self, dispatch: Callable[[Request], Outcome]) -> None:
        self._dispatch = dispatch
        self._places: anyio.CapacityLimiter | None = None
        self._threads: anyio.CapacityLimiter | None = None

    async def run(self, request: Request) -> Outcome:
        """Run one call. When the awaiting task is cancelled, the call is told and this returns at once."""
        if self._places is None or self._threads is None:  # limiters belong to a running event loop
            self._places = anyio.CapacityLimiter(MAX_CALLS_AT_ONCE)
            self._threads = anyio.CapacityLimiter(math.inf)
        places, loop = self._places, asyncio.get_running_loop()
        place, started = object(), False
        await places.acquire_on_behalf_of(place)

        def work() -> Outcome:
            nonlocal started
            started = True
            try:
                return self._dispatch(request)
            finally:
                with suppress(RuntimeError):  # the loop is closed: the server has stopped
                    loop.call_soon_threadsafe(places.release_on_behalf_of, place)

        try:
            return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
        finally:
            request.cancelled.set()
            if not started:
                places.release_on_behalf_of(place)
