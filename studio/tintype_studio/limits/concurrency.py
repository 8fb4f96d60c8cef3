"""Calls of a key that run at a time in this process."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import AbstractContextManager

from tintype_studio.errors import RateLimited
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.tiers import tier_of


class Concurrency:
    """Counts running calls. Thread-safe."""

    def __init__(self) -> None:
        self._running: Counter[int] = Counter()
        self._lock = threading.Lock()

    def slot(self, principal: Principal) -> AbstractContextManager[None]:
        """Hold a place for the length of the block, or raise ``RateLimited`` on entering it."""
        tier = tier_of(principal.tier).concurrent_calls
        return _Slot(self, principal.key_id, min(principal.max_concurrent or tier, tier))

    def _take(self, key_id: int, limit: int) -> None:
        with self._lock:
            if self._running[key_id] >= limit:
                raise RateLimited(
                    f"This key has {limit} calls running, as many as it may.",
                    code="too_many_calls_at_once",
                    fix="Wait until one of them ends, then call again.",
                    details={"limit": limit, "retry_after": 1},
                )
            self._running[key_id] += 1

    def _free(self, key_id: int) -> None:
        with self._lock:
            self._running[key_id] -= 1
            if not self._running[key_id]:
                del self._running[key_id]


class _Slot(AbstractContextManager[None]):
    """A place among a key's running calls. A class: every call passes here, and a generator costs more."""

    __slots__ = ("_key_id", "_limit", "_of")

    def __init__(self, of: Concurrency, key_id: int, limit: int) -> None:
        self._of, self._key_id, self._limit = of, key_id, limit

    def __enter__(self) -> None:
        self._of._take(self._key_id, self._limit)

    def __exit__(self, *_error: object) -> None:
        self._of._free(self._key_id)
