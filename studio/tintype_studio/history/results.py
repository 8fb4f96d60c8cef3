"""The rest of an answer that was cut to fit: parked for a while, read on by handle."""

from __future__ import annotations

import secrets
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


@dataclass(frozen=True, slots=True)
class Parked:
    """Items of one list of an earlier answer."""

    tool: str
    path: str
    items: list[Any]
    total: int


class Results:
    """Parks and reads lists. A handle works only for the key that made the call."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def park(self, principal: Principal, *, tool: str, path: str, items: list[Any]) -> str:
        """Keep a list for an hour; returns its handle."""
        handle = secrets.token_urlsafe(18)
        now = clock.now()
        with self._db.write() as connection:
            connection.execute(
                sa.insert(stored_results).values(
                    handle=handle,
                    api_key_id=principal.key_id,
                    tool=tool,
                    path=path,
                    items=orjson.dumps(items),
                    created_at=now,
                    expires_at=now + KEEP,
                )
            )
        return handle

    def read(self, principal: Principal, handle: str, *, offset: int) -> Parked:
        """The parked items from ``offset`` on."""
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
                "No parked result has this handle; they are kept for one hour.",
                code="result_not_found",
                fix="Call the original tool again, with narrower arguments if it has them.",
            )
        items = orjson.loads(row["items"])
        return Parked(tool=row["tool"], path=row["path"], items=items[offset:], total=len(items))

    def sweep(self) -> None:
        """Drop expired rows."""
        with self._db.write() as connection:
            connection.execute(sa.delete(stored_results).where(stored_results.c.expires_at <= clock.now()))
