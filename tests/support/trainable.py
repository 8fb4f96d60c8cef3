"""Small exports of the format pictograph, to be trained on without a workspace."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.formats.base import ExportClass, ExportItem
from tintype_studio.formats.pictograph import PictographWriter
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.train.config import read_config
from tintype_studio.vision.train.pipelines import pipeline_of
from tintype_studio.vision.train.session import Order

CLASSES = ("red", "blue")
COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200)}


@dataclass
class Picture:
    """An image of an export; ``data`` None leaves the image out."""

    name: str
    data: bytes | None
    size: tuple[int, int]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    folder: str = "/"
    status: str = "complete"
    split: str | None = None


def box(name: str, x: float, y: float, w: float, h: float) -> dict[str, Any]:
    return {"name": name, "type": "bbox", "bounding_box": {"x": x, "y": y, "w": w, "h": h}}


def polygon(name: str, *rings: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "name": name,
        "type": "polygon",
        "polygon": {"paths": [[{"x": x, "y": y} for x, y in r] for r in rings]},
    }


def squares(seed: int, *, side: int = 96, outlined: bool = False, **values: Any) -> Picture:
    """One or two coloured squares on noise; the colour is the class."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(120, 12, (side, side + 16, 3))
    annotations = []
    for half in range(int(rng.integers(1, 3))):
        name = CLASSES[int(rng.integers(2))]
        edge = int(rng.integers(side // 4, side // 2 - 4))
        x = half * side // 2 + int(rng.integers(0, side // 2 - edge))
        y = int(rng.integers(0, side - edge))
        pixels[y : y + edge, x : x + edge] = COLOURS[name]
        corners = [(x, y), (x + edge, y), (x + edge, y + edge), (x, y + edge)]
        annotations.append(polygon(name, corners) if outlined else box(name, x, y, edge, edge))
    values = {"name": f"{seed}.png", **values}
    return Picture(data=png(pixels), size=(side + 16, side), annotations=annotations, **values)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def export(folder: Path, pictures: Iterable[Picture], classes: Sequence[str] = CLASSES) -> str:
    """Put an export into the blobs of ``folder``; returns its digest."""
    path = folder / "export.zip"
    with (
        zipfile.ZipFile(path, "w") as archive,
        PictographWriter(
            archive,
            dataset_name="trainable",
            classes=[ExportClass(name) for name in classes],
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ) as writer,
    ):
        for each in pictures:
            writer.add(
                ExportItem(
                    f"id-{each.folder}{each.name}",
                    each.name,
                    each.folder,
                    *each.size,
                    each.status,
                    each.split,
                    ANNOTATIONS.validate_python(
                        [{"id": str(k), **a} for k, a in enumerate(each.annotations)]
                    ),
                    None if each.data is None else (lambda data=each.data: data),
                )
            )
        writer.finish()
    with path.open("rb") as file:
        return Blobs(str(folder / "blobs")).put_file(file)[0]


def order(
    folder: Path,
    export_sha256: str,
    pipeline: str = "yolox",
    *,
    run_id: str | None = None,
    class_filter: tuple[str, ...] | None = None,
    **raw: Any,
) -> Order:
    config, ignored = read_config(pipeline_of(pipeline), {"image_size": 96, "device": "cpu", **raw})
    assert not ignored
    run_id = run_id or f"run-{folder.name}-{pipeline}"
    return Order(
        run_id, str(folder / "blobs"), export_sha256, pipeline, config, str(folder / "work"), class_filter
    )
