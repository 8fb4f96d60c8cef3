"""Which images a change was about, in the detail of its row: row ids, runs of them as first and last.

Calls on many images are logged in one row. SQLite may give the id of a purged image to a new one, so whoever
reads them takes only images that are older than the change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from tintype_studio.storage.tables import samples

KEY = "image_ids"
"""In the detail: the packed ids."""

COLUMNS = ("folder", "status", "display_name", "split", "frame_number", "sequence_id", "meta")
"""What calls change of many samples at once."""

SIZE = "size"
"""In the detail beside the columns: width and height, with which annotations move."""


def pack(row_ids: Iterable[int]) -> list[list[int]]:
    """Ids as ``[first, last]`` of each run, or ``[id]`` alone."""
    runs: list[list[int]] = []
    for row_id in sorted(set(row_ids)):
        if runs and row_id == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], row_id]
        else:
            runs.append([row_id])
    return runs


def unpack(runs: Iterable[Iterable[int]]) -> list[int]:
    """The ids, ascending."""
    return [row_id for first, *last in runs for row_id in range(first, (last[0] if last else first) + 1)]


def columns_of(row: sa.RowMapping) -> dict[str, list[list[Any]]]:
    """By column of the images: ``[value before, value after, packed ids]`` for each value before.

    So are images logged of which a call changed the folder, status, display name and the like, or ``SIZE``.
    """
    detail: dict[str, list[list[Any]]] = row["detail"] or {}
    return {column: detail[column] for column in (*COLUMNS, SIZE) if column in detail}


def older_images(row: sa.RowMapping, row_ids: list[int]) -> sa.ColumnElement[bool]:
    """Images with these ids that are older than the change."""
    return sa.and_(samples.c.id.in_(row_ids), samples.c.created_at <= row["created_at"])
