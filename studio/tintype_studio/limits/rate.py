"""Calls of a key in a sliding hour.

A window is sixty whole minutes and the one that runs. Each process counts its own calls in memory and
writes its counts once a second; what other processes wrote is read as often. So a call costs no write, a
single process is exact, and several together can exceed a limit only by what they admit in a second.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import RateLimited
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.tiers import tier_of
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.upkeep_tables import rate_windows

log = logging.getLogger(__name__)

MINUTES = 60
SYNC_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """The state of a key's hour."""

    limit: int
    remaining: int
    reset: int
    """Unix time in seconds when the oldest counted calls leave the window."""


class _Calls:
    """One key's calls by minute: this process's own, and those of others as last read."""

    __slots__ = ("_kept_at", "others", "own", "read_at", "written")

    def __init__(self) -> None:
        self.own: Counter[int] = Counter()
        self.written: Counter[int] = Counter()
        self.others: Counter[int] = Counter()
        self.read_at = -math.inf
        self._kept_at: int | None = None

    def read(self, others: Counter[int], minute: int) -> None:
        """Take what other processes have written, with a look at the window."""
        self.others = others
        self._kept_at = None
        self.keep(minute)

    def keep(self, minute: int) -> None:
        """Drop what has left the window, and minutes of a clock that was far ahead and was put back."""
        if minute == self._kept_at:  # what is counted since then is of this minute
            return
        self._kept_at = minute
        for counter in (self.own, self.others, self.written):
            for other in [m for m in counter if not minute - MINUTES <= m <= minute + MINUTES]:
                del counter[other]

    def total(self) -> int:
        return self.own.total() + self.others.total()

    def oldest(self) -> int | None:
        return min((m for c in (self.own, self.others) for m, n in c.items() if n), default=None)


class RateLimits:
    """Admits calls. Thread-safe; a background thread writes the counts while there are any."""

    def __init__(self, database: Database, liveness: Liveness) -> None:
        self._db = database
        self._instance = liveness.instance
        self._keys: dict[int, _Calls] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._writer: threading.Thread | None = None

    def admit(self, principal: Principal) -> None:
        """Count a call, or raise ``RateLimited`` with ``retry_after`` in seconds and count nothing."""
        calls = self._read_others(principal.key_id)
        with self._lock:
            now = clock.now().timestamp()
            minute = int(now // 60)
            calls.keep(minute)
            if calls.total() >= _limit(principal):
                raise _over_limit(_window(calls, principal, now), now)
            calls.own[minute] += 1
            self._start_writer()

    def knows(self, principal: Principal) -> bool:
        """Whether ``admit`` can do without the database: what other processes counted was read just now."""
        calls = self._keys.get(principal.key_id)
        return calls is not None and time.monotonic() - calls.read_at < SYNC_SECONDS

    def window(self, principal: Principal) -> Window:
        """The state of the key's hour, as this process knows it."""
        with self._lock:
            calls = self._keys.setdefault(principal.key_id, _Calls())
            return _window(calls, principal, clock.now().timestamp())

    def flush(self) -> None:
        """Write this process's counts."""
        with self._lock:
            changed = [
                (key, minute, count, calls)
                for key, calls in self._keys.items()
                for minute, count in calls.own.items()
                if calls.written[minute] != count
            ]
        if not changed:
            return
        rows = [
            {"api_key_id": key, "minute": minute, "instance": self._instance, "count": count}
            for key, minute, count, _ in changed
        ]
        columns = rate_windows.c
        statement = self._db.upsert(
            rate_windows, keys=(columns.api_key_id, columns.minute, columns.instance), values=("count",)
        )
        with self._db.write(durable=False) as connection:
            connection.execute(statement, rows)
        with self._lock:
            for _, minute, count, calls in changed:
                calls.written[minute] = count

    def sweep(self) -> None:
        """Drop counts that no window holds any more."""
        oldest = int(clock.now().timestamp() // 60) - MINUTES
        with self._db.write(durable=False) as connection:
            connection.execute(sa.delete(rate_windows).where(rate_windows.c.minute < oldest))
        with self._lock:
            for key, calls in list(self._keys.items()):
                calls.keep(oldest + MINUTES)
                if not calls.total():
                    del self._keys[key]

    def close(self) -> None:
        """Write what is left and stop."""
        self._closed.set()
        if self._writer is not None:
            self._writer.join(10)
            self.flush()

    def _read_others(self, key_id: int) -> _Calls:
        with self._lock:
            calls = self._keys.setdefault(key_id, _Calls())
            if time.monotonic() - calls.read_at < SYNC_SECONDS:
                return calls
            calls.read_at = time.monotonic()
        oldest = int(clock.now().timestamp() // 60) - MINUTES
        with self._db.read() as connection:
            rows = connection.execute(
                sa.select(rate_windows.c.minute, sa.func.sum(rate_windows.c.count).label("calls"))
                .where(
                    rate_windows.c.api_key_id == key_id,
                    rate_windows.c.minute >= oldest,
                    rate_windows.c.instance != self._instance,
                )
                .group_by(rate_windows.c.minute)
            ).all()
        with self._lock:
            calls.read(Counter({row.minute: int(row.calls) for row in rows}), oldest + MINUTES)
        return calls

    def _start_writer(self) -> None:
        if self._writer is None and not self._closed.is_set():
            self._writer = threading.Thread(target=self._write_on, name="rate-limits", daemon=True)
            self._writer.start()

    def _write_on(self) -> None:
        while not self._closed.wait(SYNC_SECONDS):
            try:
                self.flush()
            except Exception:
                log.exception("the counts of calls could not be written")


def _limit(principal: Principal) -> int:
    tier = tier_of(principal.tier).calls_per_hour
    return min(principal.rate_limit or tier, tier)


def _window(calls: _Calls, principal: Principal, now: float) -> Window:
    limit = _limit(principal)
    minute = int(now // 60)
    calls.keep(minute)
    oldest = calls.oldest()
    first = minute if oldest is None else min(oldest, minute)
    return Window(
        limit=limit,
        remaining=max(0, limit - calls.total()),
        reset=(first + MINUTES + 1) * 60,
    )


def _over_limit(window: Window, now: float) -> RateLimited:
    retry_after = max(1, math.ceil(window.reset - now))
    return RateLimited(
        f"This key has made its {window.limit} calls of this hour; call again in {retry_after} s.",
        fix="Wait, or ask an admin for a higher limit; bulk tools count as one call.",
        details={
            "limit": window.limit,
            "remaining": 0,
            "reset": window.reset,
            "retry_after": retry_after,
        },
    )
