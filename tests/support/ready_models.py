"""Datasets of painted cells, and ready models in the registry without any training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from PIL import Image

from tintype_studio import clock
from tintype_studio.annotations.geometry import BBoxAnnotation, BoundingBox
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import samples
from tintype_studio.storage.training_tables import models, training_runs
from tintype_studio.studio import Studio
from tintype_studio.training.models import Model
from tintype_studio.training.splits import RECORD
from tintype_studio.vision.tasks import Signature

COLORS = {"red": (255, 0, 0), "blue": (0, 0, 255)}
Cell = tuple[int, int, str]
"""Column, row and colour in a grid of 4 x 4 over the letterboxed square."""


def scene(width: int, height: int, *cells: Cell) -> np.ndarray:
    """A grey picture with painted cells."""
    image = np.full((height, width, 3), 120, np.uint8)
    step = max(width, height) // 4
    for column, row, color in cells:
        image[row * step : (row + 1) * step, column * step : (column + 1) * step] = COLORS[color]
    return image


def png(image: np.ndarray) -> bytes:
    """An image file."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def cell_boxes(width: int, height: int, *cells: Cell) -> list[Any]:
    """The true boxes of a scene."""
    step = max(width, height) // 4
    return [
        BBoxAnnotation(
            id=f"{column}-{row}-{color}",
            name=color,
            bounding_box=BoundingBox(x=column * step, y=row * step, w=step, h=step),
        )
        for column, row, color in cells
    ]


def add_scene(
    studio: Studio,
    principal: Principal,
    dataset: Dataset,
    name: str,
    *cells: Cell,
    size: tuple[int, int] = (64, 64),
    labelled: bool = True,
    split: str | None = None,
    folder: str = "/",
) -> Sample:
    """Upload a scene, with its true boxes."""
    picture = png(scene(*size, *cells))
    uploaded = studio.ingest.add_image(principal, dataset, data=picture, filename=name, folder=folder)
    if labelled:
        studio.documents.save(principal, uploaded.id, cell_boxes(*size, *cells))
    if split is not None:
        with studio.database.write() as connection:
            connection.execute(sa.update(samples).where(samples.c.uuid == uploaded.id).values(split=split))
    return studio.samples.get(principal, uploaded.id)


def add_model(
    studio: Studio,
    principal: Principal,
    dataset: Dataset,
    signature: Signature,
    onnx: bytes,
    *,
    name: str = "cells",
    version: int = 1,
    metrics: dict[str, float] | None = None,
    splits: dict[str, Sequence[str]] | None = None,
    ready: bool = True,
    heads: bytes | None = None,
    attributes: dict[str, dict[str, list[str]]] | None = None,
) -> Model:
    """A ready model, as a training run would have left it. ``splits`` are the ids of images by split."""
    now = clock.now()
    card: dict[str, Any] = {}
    if splits is not None:
        record = {image: split for split, images in splits.items() for image in images}
        card[RECORD] = studio.blobs.put(orjson.dumps(record))
    common = {
        "organization_id": principal.organization_id,
        "dataset_id": dataset.row_id,
        "dataset_name": dataset.name,
        "name": name,
        "pipeline": signature.pipeline,
        "created_at": now,
    }
    with studio.database.write() as connection:
        run_id = connection.execute(
            sa.insert(training_runs)
            .values(
                **common,
                uuid=clock.new_id(),
                export_name="e",
                gpu="a10g",
                config={"epochs": 1},
                outcome="completed",
                metrics=metrics or {},
                facts={},
                notes=[],
            )
            .returning(training_runs.c.id)
        ).scalar_one()
        uuid = clock.new_id()
        connection.execute(
            sa.insert(models).values(
                **common,
                uuid=uuid,
                run_id=run_id,
                version=version,
                model_type=signature.task.value,
                signature=signature.as_json(),
                metrics=metrics or {},
                card=card,
                onnx_sha256=studio.blobs.put(onnx),
                onnx_size=len(onnx),
                heads_sha256=None if heads is None else studio.blobs.put(heads),
                heads_size=None if heads is None else len(heads),
                attributes=attributes,
                updated_at=now,
                ready_at=now if ready else None,
            )
        )
    return studio.models.get(principal, uuid)
