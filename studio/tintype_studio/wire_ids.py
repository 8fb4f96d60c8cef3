"""Ids as dialects show them: the row's number in hexadecimal after a prefix, such as ``t-1a``.

Tools take them beside UUIDs, so that what one door shows another understands.
"""

from __future__ import annotations

import re

import sqlalchemy as sa

MOST = 2**63 - 1
_TYPED = re.compile(r"([a-z]{1,4})-([0-9a-f]{1,16})", re.ASCII)


def wire_id(prefix: str, row_id: int) -> str:
    """The id of a row: ``wire_id("t", 26)`` is ``t-1a``."""
    return f"{prefix}-{row_id:x}"


def row_of(prefix: str, ref: str) -> int | None:
    """The row that an id of this prefix names; None for any other text."""
    match = _TYPED.fullmatch(ref)
    if match is None or match[1] != prefix:
        return None
    found = int(match[2], 16)
    return found if found <= MOST else None


def named_by(table: sa.Table, prefix: str, ref: str) -> sa.ColumnElement[bool]:
    """Rows that a UUID or an id of this prefix names."""
    row_id = row_of(prefix, ref)
    return table.c.uuid == ref if row_id is None else table.c.id == row_id
