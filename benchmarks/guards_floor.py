"""The least that the rows of a save cost: written by hand, with nothing but ``sqlite3``, in one transaction.

``bench_guards`` sets it beside what our own code takes for the same rows.
"""

from __future__ import annotations

import itertools
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tintype_studio.storage.database import SQLITE_PRAGMAS, use_wal

Part = Callable[[str], object]
"""Writes rows of the call with that id."""

HANDLER = "handler alone"
"""The step that all others add to."""


class Floor:
    """A copy of a workspace's database, whose newest rows are written again and again."""

    def __init__(self, source: Path, copy: Path) -> None:
        """``source``: a database in which the newest call is a save that carried an idempotency key."""
        with sqlite3.connect(source) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        self._connection = sqlite3.connect(copy, isolation_level=None)
        for pragma in SQLITE_PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        use_wal(self._connection)
        self._numbers = itertools.count(10**6)
        revision = self._again("annotation_revisions", "revision", "call_id")
        change = self._again("changes", "call_id")
        line = self._again("calls", "uuid")
        record = self._again("idempotency_records", "key", "call_id")
        save, one = self._save(), self._lookup()

        def handler(call_id: str) -> None:
            revision(next(self._numbers), call_id)
            save()

        def guards(call_id: str) -> None:
            change(call_id)
            line(call_id)

        def keyed(call_id: str) -> None:
            record(str(uuid.uuid4()), call_id)

        self.steps: list[tuple[str, Callable[[], None]]] = [
            (HANDLER, self._transaction(handler)),
            ("write", self._transaction(handler, guards)),
            ("keyed write", self._transaction(handler, guards, keyed)),
            ("keyed write and lookup", self._transaction(handler, guards, keyed, before=one)),
        ]
        """The rows of one call, from those of its handler alone to all that a key needs."""

    def close(self) -> None:
        """Close the copy."""
        self._connection.close()

    def _transaction(self, *parts: Part, before: Callable[[], object] = lambda: None) -> Callable[[], None]:
        execute = self._connection.execute

        def run() -> None:
            call_id = str(uuid.uuid4())
            before()
            execute("BEGIN IMMEDIATE")
            for part in parts:
                part(call_id)
            execute("COMMIT")

        return run

    def _again(self, table: str, *fresh: str) -> Callable[..., object]:
        """Insert the newest row of a table anew, with other values in the given columns."""
        cursor = self._connection.execute(f"SELECT * FROM {table} ORDER BY created_at DESC, id DESC LIMIT 1")
        found: dict[str, Any] = dict(zip([d[0] for d in cursor.description], cursor.fetchone(), strict=True))
        rest = {name: value for name, value in found.items() if name not in ("id", *fresh)}
        columns = ", ".join(f'"{name}"' for name in (*fresh, *rest))
        text = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * (len(fresh) + len(rest)))})"
        values, execute = tuple(rest.values()), self._connection.execute
        return lambda *new: execute(text, (*new, *values))

    def _save(self) -> Callable[[], None]:
        execute = self._connection.execute

        def save() -> None:
            # SQLite writes nothing for an update that changes nothing.
            now = f"2026-01-01 00:00:00.{next(self._numbers)}"
            execute("UPDATE samples SET status = 'complete', annotation_count = 5, updated_at = ?", (now,))
            execute("UPDATE datasets SET annotation_count = annotation_count + 0, updated_at = ?", (now,))

        return save

    def _lookup(self) -> Callable[[], object]:
        text = "SELECT * FROM idempotency_records WHERE api_key_id = 1 AND tool = ? AND key = ?"
        execute = self._connection.execute
        return lambda: execute(text, ("save_annotations", str(uuid.uuid4()))).fetchall()
