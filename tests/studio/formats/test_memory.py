"""Exports of any length in the same memory."""

from __future__ import annotations

import math
import tracemalloc
import zipfile
from datetime import datetime

import pytest

from tintype_studio.annotations.geometry import Point, PolygonAnnotation, PolygonGeometry
from tintype_studio.formats import WRITERS
from tintype_studio.formats.base import ExportClass, ExportItem

POLYGON = PolygonAnnotation(
    id="a",
    name="stop",
    polygon=PolygonGeometry(
        paths=[
            [
                Point(
                    x=round(300 + 200 * math.cos(k / 20 * math.pi), 3),
                    y=round(300 + 200 * math.sin(k / 20 * math.pi), 3),
                )
                for k in range(40)
            ]
        ]
    ),
)
FEW, MANY = 1_000, 8_000
SPOOL = 1_500_000
"""Bytes: a spool stays in memory up to 1 MiB, which the shorter export may not reach."""


def peak(name, count, polygons, path):
    document = [POLYGON] * polygons
    tracemalloc.start()
    try:
        with (
            zipfile.ZipFile(path, "w") as archive,
            WRITERS[name](
                archive, dataset_name="d", classes=[ExportClass("stop")], created_at=datetime(2025, 1, 1)
            ) as writer,
        ):
            for n in range(count):
                writer.add(
                    ExportItem(f"id-{n}", f"{n:06}.jpg", "/stop", 640, 640, "complete", None, document)
                )
            summary = writer.finish()
        return tracemalloc.get_traced_memory()[1], summary
    finally:
        tracemalloc.stop()


# What may grow, in bytes per image: zipfile's directory of members, and the stems that YOLO remembers. A
# writer that gathered would add the size of the text, which is more than this allows.
@pytest.mark.parametrize(
    ("name", "polygons", "kept"),
    [
        ("coco", 3, 0),
        ("pictograph", 3, 550),
        ("yolo", 2, 750),
        ("cvat", 3, 0),
        ("csv", 3, 0),
        ("pascal_voc", 2, 750),
    ],
)
def test_memory_does_not_grow_with_the_annotations(name, polygons, kept, tmp_path):
    peak(name, 50, polygons, tmp_path / "warm.zip")  # imports
    few, _ = peak(name, FEW, polygons, tmp_path / "few.zip")
    many, summary = peak(name, MANY, polygons, tmp_path / "many.zip")
    assert summary.images == MANY
    assert summary.annotations == MANY * polygons
    with zipfile.ZipFile(tmp_path / "many.zip") as archive:
        written = sum(info.file_size for info in archive.infolist())
    allowed = (MANY - FEW) * kept + SPOOL
    assert many - few < allowed
    assert (MANY - FEW) * (kept * 0.5 + written / MANY) > allowed * 1.2  # so that gathering would show
    assert many < MANY * kept + 6e6
