"""Whether two calls are the same: a digest of plain data, whatever the order of its keys."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson


def fingerprint(*parts: Any) -> str:
    """SHA-256 (hex) of JSON-like parts."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
