"""What becomes of annotations when a sample's size is learned: they keep their place in the picture."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.geometry import MAX_COORDINATE
from tintype_studio.storage.tables import annotation_revisions

MAX_SIDE = 1_000_000
"""Pixels."""

Size = tuple[int | None, int | None]


def factors(before: Size, after: Size) -> tuple[float, float]:
    """By what coordinates grow from one size to another; no size is that of a 1 x 1 picture."""
    return (after[0] or 1) / (before[0] or 1), (after[1] or 1) / (before[1] or 1)


def scaled(entry: dict[str, Any], fx: float, fy: float) -> dict[str, Any]:
    """An annotation as it is kept, in a picture that is ``fx`` times as wide and ``fy`` times as high.

    Masks are of pixels and stay as they are.
    """
    found = dict(entry)
    if box := entry.get("bounding_box"):
        found["bounding_box"] = {
            "x": _within(box["x"] * fx),
            "y": _within(box["y"] * fy),
            "w": _within(box["w"] * fx),
            "h": _within(box["h"] * fy),
        }
    if polygon := entry.get("polygon"):
        found["polygon"] = {"paths": [[_point(p, fx, fy) for p in ring] for ring in polygon["paths"]]}
    if line := entry.get("polyline"):
        found["polyline"] = {"path": [_point(p, fx, fy) for p in line["path"]]}
    if point := entry.get("keypoint"):
        found["keypoint"] = _point(point, fx, fy)
    return found


def _point(point: dict[str, float], fx: float, fy: float) -> dict[str, float]:
    return {"x": _within(point["x"] * fx), "y": _within(point["y"] * fy)}


def _within(value: float) -> float:
    """Far outside the picture is as good as farther."""
    return min(max(value, -MAX_COORDINATE), MAX_COORDINATE)


def rescaled(document: str, before: Size, after: Size) -> str:
    """A document (JSON, or empty for none) in a picture of another size."""
    fx, fy = factors(before, after)
    if not document or (fx == 1 and fy == 1):
        return document
    return orjson.dumps([scaled(entry, fx, fy) for entry in orjson.loads(document)]).decode()


def scale_documents(connection: sa.Connection, sample_row_id: int, before: Size, after: Size) -> None:
    """Rescale every revision of a sample in all its sets, in the transaction that changes its size.

    All of them, so that what an undo or a version brings back lies where it lay.
    """
    if factors(before, after) == (1, 1):
        return
    rows = connection.execute(
        sa.select(annotation_revisions.c.id, annotation_revisions.c.document).where(
            annotation_revisions.c.sample_id == sample_row_id
        )
    ).all()
    for row in rows:
        if row.document == "[]":
            continue
        connection.execute(
            sa.update(annotation_revisions)
            .where(annotation_revisions.c.id == row.id)
            .values(document=rescaled(row.document, before, after))
        )
