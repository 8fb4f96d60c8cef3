"""Calls of a key that run at a time in this process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tintype_studio.errors import RateLimited
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.tiers import tier_of


class Concurrency:
    """Counts running calls. Thread-safe."""

    def __init__(self) -> None:
        self._running: Counter[int] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, principal: Principal) -> Iterator[None]:
        """Hold a place for the length of the block, or raise ``RateLimited``."""
        tier = tier_of(principal.tier).concurrent_calls
        limit = min(principal.max_concurrent or tier, tier)
        with self._lock:
            if self._running[principal.key_id] >= limit:
                raise RateLimited(
                    f"This key has {limit} calls running, as many as it may.",
                    code="too_many_calls_at_once",
                    fix="Wait until one of them ends, then call again.",
                    details={"limit": limit, "retry_after": 1},
                )
            self._running[principal.key_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[principal.key_id] -= 1
                if not self._running[principal.key_id]:
                    del self._running[principal.key_id]
