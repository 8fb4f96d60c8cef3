"""What a dataset's annotations say is true, as a model of some classes is measured on it.

The rules are those of training: accepted boxes and polygons count, drafts, points and lines do not; where
masks are measured, a box of a class that is outlined elsewhere says too little and does not count either.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    MaskAnnotation,
    PolygonAnnotation,
    enclosing_box,
    has_place,
)
from tintype_studio.annotations.masks import as_outline
from tintype_studio.annotations.review import is_draft
from tintype_studio.formats.base import folder_segments
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.heads import Attributes, options_in
from tintype_studio.vision.tasks import Signature, Task

MASKS = (Task.INSTANCES, Task.SEMANTIC)


def labels_of(annotations: Sequence[Annotation], classes: Sequence[str], folder: str) -> list[int]:
    """The image's classes: those named by accepted annotations; else that of its top folder."""
    named = {a.name for a in annotations if not is_draft(a)}
    if not named:
        named = set(folder_segments(folder)[:1])
    return [label for label, name in enumerate(classes) if name in named]


def outlined_classes(annotations: Sequence[Annotation]) -> set[str]:
    """Names of the classes that have a polygon."""
    outlines = PolygonAnnotation | MaskAnnotation
    return {a.name for a in annotations if isinstance(a, outlines) and not is_draft(a)}


def can_be_measured(
    signature: Signature, annotations: Sequence[Annotation], folder: str, *, complete: bool
) -> bool:
    """Whether it is known what is true: the image is labelled, with one class where the model gives one.

    Of places, a ``complete`` image without annotations that have one says that there is nothing; one with
    drafts alone says nothing yet.
    """
    if signature.task is Task.CLASSIFICATION:
        labels = labels_of(annotations, signature.classes, folder)
        return bool(labels) and (signature.multi_label or len(labels) == 1)
    placed = [a for a in annotations if has_place(a)]
    return any(not is_draft(a) for a in placed) or (complete and not placed)


def truth_of(
    signature: Signature,
    annotations: Sequence[Annotation],
    *,
    size: tuple[int, int],
    across: float,
    down: float,
    folder: str,
    outlined: Collection[str],
    attributes: Attributes | None = None,
) -> Truth:
    """What is true in a frame of ``size`` (width, height); ``across`` and ``down`` are pixels of the original
    for each of the frame's. Options are told of ``attributes`` alone.
    """
    width, height = size
    if signature.task is Task.CLASSIFICATION:
        labels = labels_of(annotations, signature.classes, folder)
        return Truth(width, height, np.zeros((0, 4)), np.array(labels, np.int64))
    index = {name: label for label, name in enumerate(signature.classes)}
    per_pixel = np.array([across, down])
    boxes, labels, polygons, options = [], [], [], list[dict[str, str]]()
    for each in map(as_outline, annotations):
        if is_draft(each) or each.name not in index:
            continue
        if not isinstance(each, BBoxAnnotation | PolygonAnnotation):
            continue
        if signature.task in MASKS and isinstance(each, BBoxAnnotation) and each.name in outlined:
            continue
        x, y, w, h = enclosing_box(each)
        box = np.array([x, y, x + w, y + h]) / [across, down, across, down]
        box = np.clip(box, 0, (width, height, width, height))
        if box[2] <= box[0] or box[3] <= box[1]:
            continue
        boxes.append(box)
        labels.append(index[each.name])
        if attributes is not None:
            options.append(options_in(each.attributes, attributes.get(each.name, {})))
        rings = each.polygon.paths if isinstance(each, PolygonAnnotation) else []
        polygons.append([np.array([(p.x, p.y) for p in ring]) / per_pixel for ring in rings])
    corners = np.array(boxes, float).reshape(-1, 4)
    return Truth(width, height, corners, np.array(labels, np.int64), polygons, options)
