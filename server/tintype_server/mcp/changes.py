"""Tells clients that a list of theirs has changed, whoever changed it: a call, the command line, a worker.

A client of the 2026-07-28 revision opens a stream to hear of it; while one is open, the lists are looked at
every few seconds. An older client is told after its own calls, when they changed something.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import mcp.types as t
import sqlalchemy as sa
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ServerEvent,
    ToolsListChanged,
)

from tintype_server.dispatch.running import log
from tintype_server.mcp.caller import Context
from tintype_server.mcp.reads import Reader, Readers
from tintype_server.mcp.resources import DATASETS_A_PAGE, JOBS_A_PAGE, MODELS_A_PAGE
from tintype_studio.errors import RateLimited, TintypeError
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import datasets
from tintype_studio.storage.training_tables import models

LOOK_EVERY_SECONDS = 5.0
MAX_STREAMS = 64
"""Open streams of one key."""
MAX_SESSIONS = 1024
"""Conversations of which it is known what they were told last."""


def _newest(table: sa.Table, *columns: str, gone: str | None, page: int) -> sa.Select[Any]:
    query = sa.select(*(table.c[name] for name in ("id", *columns)))
    query = query.where(table.c.organization_id == sa.bindparam("organization"))
    if gone is not None:
        query = query.where(table.c[gone].is_(None))
    return query.order_by(table.c.id.desc()).limit(page)


# The lists themselves tell much more of each thing, and cost as much as a small change.
_FIRST_PAGE = (
    _newest(datasets, "name", gone="deleted_at", page=DATASETS_A_PAGE),
    _newest(models, "name", gone="archived_at", page=MODELS_A_PAGE),
    _newest(jobs, gone=None, page=JOBS_A_PAGE),
)


@dataclass(frozen=True, slots=True)
class Lists:
    """What decides what a caller's lists show."""

    access: tuple[Any, ...]
    """Of tools and prompts: role and toolsets."""
    things: tuple[Any, ...]
    """Of resources: the first page's names and ids."""

    @classmethod
    def of(cls, reader: Reader) -> Lists:
        """Look at them. Blocks."""
        principal = reader.principal
        whose = {"organization": principal.organization_id}
        with reader.runtime.studio.database.read() as connection:
            things = tuple(tuple(connection.execute(query, whose).all()) for query in _FIRST_PAGE)
        return cls(access=(principal.role, principal.toolsets), things=things)

    def events(self, before: Lists) -> list[ServerEvent]:
        """What to tell somebody who saw the lists as they were before."""
        told: list[ServerEvent] = []
        if self.access != before.access:
            told += [ToolsListChanged(), PromptsListChanged()]
        if (self.access, self.things) != (before.access, before.things):
            told.append(ResourcesListChanged())
        return told


class Changes:
    """Watches the lists of connected clients."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._streams: Counter[int] = Counter()
        self._told: OrderedDict[tuple[int, str | None], Lists] = OrderedDict()

    async def listen(
        self, ctx: Context, params: t.SubscriptionsListenRequestParams
    ) -> t.SubscriptionsListenResult:
        """Serve one stream until the client hangs up, or until its key stops working.

        Raises ``TintypeError`` for one without a valid key, or with too many streams.
        """
        reader = await self._readers.of(ctx)
        wanted = params.notifications.model_copy(update={"resource_subscriptions": None})
        params = params.model_copy(update={"notifications": wanted})
        bus = InMemorySubscriptionBus()
        handler = ListenHandler(bus, max_subscriptions=1)
        with self._place(reader.principal.key_id):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, ctx, reader, bus, handler)
                result = await handler(ctx, params)
                tasks.cancel_scope.cancel()
        return result

    async def _watch(
        self, ctx: Context, reader: Reader, bus: InMemorySubscriptionBus, handler: ListenHandler
    ) -> None:
        try:
            before = await anyio.to_thread.run_sync(Lists.of, reader)
            while True:
                await anyio.sleep(LOOK_EVERY_SECONDS)
                now = await anyio.to_thread.run_sync(Lists.of, await self._readers.of(ctx))
                for event in now.events(before):
                    await bus.publish(event)
                before = now
        except TintypeError:  # the key was revoked
            handler.close()
        except Exception:
            log.exception("a client is no longer told of changes")
            handler.close()

    async def after_change(self, ctx: Context) -> None:
        """Tell a client of the ``initialize`` era what its call changed; never fails the call."""
        try:
            reader = await self._readers.of(ctx)
            now = await anyio.to_thread.run_sync(Lists.of, reader)
            session = (reader.principal.key_id, reader.caller.session)
            before = self._told.pop(session, None)
            self._told[session] = now
            if len(self._told) > MAX_SESSIONS:
                self._told.popitem(last=False)
            # At first it is not known what the client has seen; a list that did not change is fetched again.
            for event in now.events(before) if before is not None else [ResourcesListChanged()]:
                if isinstance(event, ToolsListChanged):
                    await ctx.session.send_tool_list_changed()
                elif isinstance(event, PromptsListChanged):
                    await ctx.session.send_prompt_list_changed()
                else:
                    await ctx.session.send_resource_list_changed()
        except Exception:
            log.exception("a client could not be told of a change")

    @contextmanager
    def _place(self, key_id: int) -> Iterator[None]:
        if self._streams[key_id] >= MAX_STREAMS:
            raise RateLimited(
                f"This key has {MAX_STREAMS} streams open, as many as it may.",
                code="too_many_streams",
                fix="Close one that is not needed any more, then try again.",
                details={"limit": MAX_STREAMS, "retry_after": 1},
            )
        self._streams[key_id] += 1
        try:
            yield
        finally:
            self._streams[key_id] -= 1
            if not self._streams[key_id]:
                del self._streams[key_id]
