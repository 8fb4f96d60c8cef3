"""Builders shared by the tests of the export formats."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tintype_studio.annotations.geometry import (
    BBoxAnnotation,
    BoundingBox,
    KeypointAnnotation,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
    PolylineAnnotation,
    PolylineGeometry,
)
from tintype_studio.formats import WRITERS
from tintype_studio.formats.base import ExportClass, ExportItem, ExportSummary

CREATED = datetime(2025, 3, 4, 5, 6, 8, tzinfo=UTC)


@dataclass
class Exported:
    data: bytes
    summary: ExportSummary

    @property
    def zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(self.data))

    @property
    def names(self) -> list[str]:
        return self.zip.namelist()

    def text(self, path: str) -> str:
        return self.zip.read(path).decode()

    def json(self, path: str) -> Any:
        return json.loads(self.zip.read(path))


class Make:
    """Short ways to write annotations, items and exports."""

    def __init__(self) -> None:
        self.count = 0

    def _base(self, name: str, extra: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        return {"id": f"a{self.count}", "name": name, **extra}

    def box(self, x: float, y: float, w: float, h: float, name: str = "stop", **extra: Any) -> BBoxAnnotation:
        return BBoxAnnotation(**self._base(name, extra), bounding_box=BoundingBox(x=x, y=y, w=w, h=h))

    def polygon(self, *rings: Any, name: str = "stop", **extra: Any) -> PolygonAnnotation:
        paths = [[Point(x=float(x), y=float(y)) for x, y in ring] for ring in rings]
        return PolygonAnnotation(**self._base(name, extra), polygon=PolygonGeometry(paths=paths))

    def line(self, *points: tuple[float, float], name: str = "stop") -> PolylineAnnotation:
        path = PolylineGeometry(path=[Point(x=x, y=y) for x, y in points])
        return PolylineAnnotation(**self._base(name, {}), polyline=path)

    def keypoint(self, x: float, y: float, name: str = "stop") -> KeypointAnnotation:
        return KeypointAnnotation(**self._base(name, {}), keypoint=Point(x=x, y=y))

    def item(self, *annotations: Any, filename: str = "001.jpg", **changes: Any) -> ExportItem:
        values = {
            "image_id": f"id-{changes.get('folder', '/')}-{filename}",
            "folder": "/",
            "width": 64,
            "height": 48,
            "status": "complete",
            "split": None,
            **changes,
        }
        return ExportItem(filename=filename, annotations=list(annotations), **values)

    def export(
        self,
        format: str,
        *items: ExportItem,
        classes: tuple[str, ...] = ("stop", "car"),
        name: str = "signs",
        created_at: datetime = CREATED,
    ) -> Exported:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            listed = [ExportClass(c) for c in classes]
            with WRITERS[format](archive, dataset_name=name, classes=listed, created_at=created_at) as writer:
                for item in items:
                    writer.add(item)
                summary = writer.finish()
        return Exported(out.getvalue(), summary)


@pytest.fixture
def make() -> Make:
    return Make()


def _even_odd(rings: Any, width: int, height: int) -> np.ndarray:
    """Pixel centres inside by the even-odd rule, one ray per pixel: slow and independent of the writers."""
    py, px = np.mgrid[0:height, 0:width] + 0.5
    odd = np.zeros((height, width), dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if y0 == y1:
                continue
            odd ^= ((y0 <= py) != (y1 <= py)) & (x0 + (py - y0) * (x1 - x0) / (y1 - y0) > px)
    return odd


@pytest.fixture
def even_odd():
    return _even_odd


def _near_border(rings: Any, width: int, height: int, distance: float = 1.0) -> np.ndarray:
    """Pixels whose centre is within ``distance`` of an edge."""
    py, px = np.mgrid[0:height, 0:width] + 0.5
    near = np.zeros((height, width), dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            dx, dy = x1 - x0, y1 - y0
            t = np.clip(((px - x0) * dx + (py - y0) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
            near |= np.hypot(px - x0 - t * dx, py - y0 - t * dy) <= distance
    return near


@pytest.fixture
def near_border():
    return _near_border
