"""The audit trail: one append-only row per call, refusals included.

Calls that change something are recorded before they answer. Reads are recorded in batches by a background
thread: a crash can lose the last fraction of a second of reads, never a change.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.history.audit_query import EVERY_CALL, CallEntry, CallFilter, page
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.column_types import UtcDateTime
from tintype_studio.storage.database import Database
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import api_keys, calls

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.2
RETRY_SECONDS = 1.0
BATCH = 500
MARK_EVERY = timedelta(seconds=1)
"""How fine the time of a key's last use is kept."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. ``arguments`` is redacted JSON text; ``outcome`` is ``ok`` or the error's code."""

    uuid: str
    organization_id: int | None
    api_key_id: int | None
    role: str | None
    door: str
    agent: str | None
    tool: str
    arguments: str
    outcome: str
    replayed: bool
    credits: int
    duration_us: int
    created_at: datetime
    session: str | None = None
    dry_run: bool = False


_INSERT = Prepared(sa.insert(calls), columns=CallRecord.__slots__)
_MARK_USED = Prepared(
    sa.update(api_keys)
    .where(api_keys.c.id == sa.bindparam("p_key"))
    .values(last_used_at=sa.bindparam("p_at", type_=UtcDateTime))
)


class Audit:
    """Writes and reads the trail, and with it when each key was last used."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._queue: queue.SimpleQueue[CallRecord | threading.Event] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._hurry = threading.Event()
        """Ends the pause in which reads gather: somebody waits."""
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._marked: dict[int, datetime] = {}

    def record(self, record: CallRecord) -> None:
        """Write one row now."""
        self._write([record])

    def write(self, connection: sa.Connection, records: Iterable[CallRecord]) -> None:
        """Write rows in the caller's transaction: what a call changed and its line come true together."""
        rows = [{column: getattr(r, column) for column in CallRecord.__slots__} for r in records]
        used = {row["api_key_id"]: row["created_at"] for row in rows if row["api_key_id"] is not None}
        for row in rows:
            _INSERT.run(connection, row)
        for key in sorted(used):
            last = self._marked.get(key)
            if last is None or not last <= used[key] < last + MARK_EVERY:
                _MARK_USED.run(connection, {"p_key": key, "p_at": used[key]})
                self._marked[key] = used[key]

    def record_soon(self, record: CallRecord) -> None:
        """Write one row within ``FLUSH_SECONDS``; at once after ``close``."""
        with self._lock:
            if not self._closed.is_set():
                self._queue.put(record)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                    self._thread.start()
                return
        self.record(record)

    def flush(self) -> None:
        """Wait until everything given to ``record_soon`` is written."""
        if self._thread is not None and self._thread.is_alive():
            written = threading.Event()
            self._queue.put(written)
            self._hurry.set()
            written.wait(10)

    def close(self) -> None:
        """Flush and stop the background thread."""
        with self._lock:
            self._closed.set()
            thread = self._thread
        if thread is not None:
            self._queue.put(threading.Event())  # wakes it
            self._hurry.set()
            thread.join(10)

    def _run(self) -> None:
        while not (self._closed.is_set() and self._queue.empty()):
            batch: list[CallRecord] = []
            flushed: list[threading.Event] = []
            item: CallRecord | threading.Event | None = self._queue.get()
            while item is not None:
                (flushed if isinstance(item, threading.Event) else batch).append(item)  # type: ignore[arg-type]
                item = self._next() if len(batch) < BATCH else None
            if batch:
                self._write_all(batch)
            for event in flushed:
                event.set()
            if not flushed:
                self._hurry.wait(FLUSH_SECONDS)
            self._hurry.clear()

    def _write_all(self, batch: list[CallRecord]) -> None:
        """Write a batch; while the database is not there wait for it, and lose no row to a bad neighbour."""
        while True:
            try:
                return self._write(batch)
            except Unavailable:
                if self._closed.wait(RETRY_SECONDS):
                    log.exception("%d calls could not be recorded", len(batch))
                    return None
            except Exception:
                if len(batch) == 1:
                    log.exception("call %s could not be recorded", batch[0].uuid)
                    return None
                break
        for record in batch:
            self._write_all([record])

    def _next(self) -> CallRecord | threading.Event | None:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def _write(self, records: Iterable[CallRecord]) -> None:
        self._db.together(lambda connection: self.write(connection, records))

    def list(
        self,
        principal: Principal,
        which: CallFilter = EVERY_CALL,
        *,
        limit: int = 100,
        before: int | None = None,
        after: int | None = None,
    ) -> list[CallEntry]:
        """Calls, newest first: the organization's for an admin, those of the key itself for a lower role.

        ``limit`` is 1 to 1000. ``before`` and ``after`` are rows of earlier answers: the next older page is
        the one ``before`` the last row, and no row that is added meanwhile moves it.
        """
        self.flush()
        with self._db.read() as connection:
            return page(connection, principal, which, limit=limit, before=before, after=after)
