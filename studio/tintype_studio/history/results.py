"""The rest of an answer that was cut to fit: parked for a while, read on by handle.

Equal lists of one key are stored once, and each key has so much room: what is over it goes, the oldest
first. So no caller fills the disk by asking the same again and again.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import stored_results

KEEP = timedelta(hours=1)
KEY_BYTES = 64 << 20
"""Bytes that one key's parked lists may take; beyond it the oldest are dropped."""
LIST_BYTES = 4096
"""What a list counts at least, so that a crowd of small ones is bounded, too."""
HANDLE_BYTES = 18


@dataclass(frozen=True, slots=True)
class Parked:
    """Items of one list of an earlier answer."""

    tool: str
    path: str
    items: list[Any]
    total: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A list that is ready to be kept, and the handle that it will have."""

    handle: str
    key_id: int
    tool: str
    path: str
    items: bytes
    """JSON."""


class Results:
    """Parks and reads lists. A handle works only for the key that made the call."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def park(self, principal: Principal, *, tool: str, path: str, items: list[Any]) -> str:
        """Keep a list for an hour; returns its handle. A list that is parked already stays an hour more."""
        packed = self.pack(principal, tool=tool, path=path, items=items)
        self.keep(packed)
        return packed.handle

    def pack(self, principal: Principal, *, tool: str, path: str, items: list[Any]) -> Packed:
        """Prepare a list for ``keep``, without touching the database.

        The handle is drawn from the key and the content, so the same list gets the same one. It need not be
        a secret: no other key can read by it.
        """
        encoded = orjson.dumps(items)
        digest = hashlib.sha256(orjson.dumps([principal.key_uuid, tool, path]) + encoded).digest()
        handle = base64.urlsafe_b64encode(digest[:HANDLE_BYTES]).decode()
        return Packed(handle, principal.key_id, tool, path, encoded)

    def keep(self, packed: Packed) -> None:
        """Store what was packed, and drop the key's oldest lists if it has no room for all; a write."""
        now = clock.now()
        times = {"created_at": now, "expires_at": now + KEEP}
        with self._db.write() as connection:
            again = connection.execute(
                sa.update(stored_results).where(stored_results.c.handle == packed.handle).values(times)
            )
            if again.rowcount:
                return
            new = self._db.upsert(stored_results, keys=(stored_results.c.handle,), values=tuple(times))
            connection.execute(
                new,
                {
                    "handle": packed.handle,
                    "api_key_id": packed.key_id,
                    "tool": packed.tool,
                    "path": packed.path,
                    "items": packed.items,
                    **times,
                },
            )
            connection.execute(_drop_oldest(packed))

    def read(self, principal: Principal, handle: str, *, offset: int) -> Parked:
        """The parked items from ``offset`` on; ``NotFound`` when they expired or had to make room."""
        with self._db.read() as connection:
            row = (
                connection.execute(
                    sa.select(stored_results).where(
                        stored_results.c.handle == handle,
                        stored_results.c.api_key_id == principal.key_id,
                        stored_results.c.expires_at > clock.now(),
                    )
                )
                .mappings()
                .first()
            )
        if row is None:
            raise NotFound(
                "No parked result has this handle; they are kept for one hour, and the oldest make room.",
                code="result_not_found",
                fix="Call the original tool again, with narrower arguments if it has them.",
            )
        items = orjson.loads(row["items"])
        return Parked(tool=row["tool"], path=row["path"], items=items[offset:], total=len(items))

    def sweep(self) -> None:
        """Drop expired rows."""
        with self._db.write() as connection:
            connection.execute(sa.delete(stored_results).where(stored_results.c.expires_at <= clock.now()))


def _drop_oldest(newest: Packed) -> sa.Delete:
    """Drop what is over the key's room, counted from the newest list; that one stays, whatever its size."""
    c = stored_results.c
    length = sa.func.length(c["items"])
    size = sa.case((length < LIST_BYTES, LIST_BYTES), else_=length)
    up_to = sa.func.sum(size).over(order_by=(c.created_at.desc(), c.id.desc()), rows=(None, 0))
    by_age = sa.select(c.id, c.handle, up_to.label("up_to")).where(c.api_key_id == newest.key_id).subquery()
    over = sa.select(by_age.c.id).where(by_age.c.up_to > KEY_BYTES, by_age.c.handle != newest.handle)
    return sa.delete(stored_results).where(c.id.in_(over))
