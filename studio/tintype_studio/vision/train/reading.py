"""What an export of the format pictograph says about its images, as far as a task can learn from it."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tintype_studio.annotations.masks import outlined_document
from tintype_studio.errors import InvalidInput
from tintype_studio.formats.base import SPLITS, folder_segments
from tintype_studio.vision.heads import Attributes, options_in
from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train.drafts import is_draft, without_drafts
from tintype_studio.vision.train.protocol import Target
from tintype_studio.vision.train.requirements import FORMAT, MASK_TASKS, check_export

LEAST_SIDE = 1.0
"""Pixels of the original; a smaller object is a slip of the hand."""

COMPLETE = "complete"
MOST_CLASSES = 200


@dataclass(slots=True)
class Shape:
    """An object in pixels of the original."""

    label: int
    box: tuple[float, float, float, float]
    """Left, top, right, bottom, within the image."""
    rings: list[NDArray[np.float32]]
    """``[P, 2]`` each; none for a box."""
    options: dict[str, str] = field(default_factory=dict)
    """By attribute, of those that are to be learned."""


@dataclass(slots=True)
class LabelledImage:
    """An image that can be learned from."""

    image_id: str
    folder: str
    filename: str
    width: int
    height: int
    split: str | None
    member: str
    """Of the ZIP."""
    content: tuple[int, int]
    """Checksum and size of the file."""
    shapes: list[Shape] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    """For classification."""
    annotations: int = 0
    """That are learned from."""
    drafts: int = 0
    """Of them, those that nobody has reviewed."""

    @property
    def name(self) -> str:
        """Folder and file name."""
        return f"{self.folder.strip('/')}/{self.filename}".lstrip("/")

    def target(self, scale: float, *, with_polygons: bool) -> Target:
        """In letterboxed pixels."""
        if self.labels:
            return Target(np.zeros((0, 4), np.float32), np.array(self.labels, np.int64))
        boxes = np.array([s.box for s in self.shapes], np.float32).reshape(-1, 4) * np.float32(scale)
        labels = np.array([s.label for s in self.shapes], np.int64)
        if not with_polygons:
            return Target(boxes, labels)
        polygons = [
            [r * np.float32(scale) for r in s.rings] or [_corners(b)]
            for s, b in zip(self.shapes, boxes, strict=True)
        ]
        return Target(boxes, labels, polygons)


@dataclass(slots=True)
class Labelled:
    """All that can be learned from, and what was left out."""

    task: Task
    classes: list[str]
    images: list[LabelledImage]
    multi_label: bool
    notes: list[str]
    polygons: int
    skipped: int = 0
    """Drafts that were left out because they are drafts."""

    def check(self, images: int, objects: int) -> None:
        """Refuse too little."""
        try:
            check_export(self.task, images=images, annotations=objects, polygons=self.polygons)
        except InvalidInput as error:
            if not self.skipped:
                raise
            raise InvalidInput(
                error.message,
                code=error.code,
                fix=f"{self.skipped} drafts were left out: accept the right ones (accept_annotations) and "
                'train again, or train without drafts="skip".',
                details=error.details,
            ) from error
        if self.task is Task.CLASSIFICATION and len(self.classes) < 2:
            raise InvalidInput(
                f"All images have the class {self.classes[0]!r}; there is nothing to tell apart.",
                code="one_class",
                fix="Add images of a second class, or train a detection pipeline.",
            )


def read_labels(
    archive: zipfile.ZipFile,
    task: Task,
    class_filter: Sequence[str] | None,
    *,
    drafts: str = "use",
    attributes: Attributes | None = None,
) -> Labelled:
    """What there is to learn from, with or without (``skip``) drafts; of shapes also their options of
    ``attributes``.

    Raises ``InvalidInput`` (``wrong_export``, ``too_few_images``, ``no_annotations``, ``one_class``).
    """
    head = _head(archive)
    names = [c["name"] for c in head["classes"] if class_filter is None or c["name"] in class_filter]
    records: list[dict[str, Any]] = head["images"]
    documents = [
        [outlined_document(a) for a in orjson.loads(archive.read(each["annotations"]))] for each in records
    ]
    skipped, notes = 0, list[str]()
    if drafts == "skip":
        reviewed, skipped, notes = without_drafts(documents, names)
        records = [each for each, document in zip(records, reviewed, strict=True) if document is not None]
        documents = [document for document in reviewed if document is not None]
    listed = [_listed(archive, each) for each in records]
    documents = [[a for a in document if a["name"] in names] for document in documents]
    statuses = [str(each.get("status")) for each in records]
    if task is Task.CLASSIFICATION:
        found = _classified(names, listed, documents)
    else:
        found = _with_shapes(task, names, listed, documents, statuses, attributes or {})
    found.skipped = skipped
    found.notes[:0] = notes
    if len(found.classes) > MOST_CLASSES:
        found.notes.append(f"{len(found.classes)} classes are many for a model of this size.")
    found.check(len(found.images), sum(len(i.shapes) + len(i.labels) for i in found.images))
    return found


def _head(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        head: dict[str, Any] = orjson.loads(archive.read("dataset.json"))
        found = str(head["format"])
    except (KeyError, TypeError, ValueError):
        found = "another"
    check_export(
        Task.DETECTION,
        images=10**9,
        format=found,
        with_images=found != FORMAT or not head["images"] or any(i["image"] for i in head["images"]),
    )
    return head


def _listed(archive: zipfile.ZipFile, record: dict[str, Any]) -> LabelledImage:
    info = archive.getinfo(record["image"])
    return LabelledImage(
        record["id"],
        record["folder"],
        record["filename"],
        record["width"],
        record["height"],
        record["split"] if record["split"] in SPLITS else None,
        record["image"],
        (info.CRC, info.file_size),
    )


def _classified(
    names: list[str], images: list[LabelledImage], documents: list[list[dict[str, Any]]]
) -> Labelled:
    """The classes named in an image's annotations; else the folder at the top, if a class is called so."""
    of_images: list[set[str]] = []
    by_folder = 0
    for image, document in zip(images, documents, strict=True):
        mine = {a["name"] for a in document}
        top = next(iter(folder_segments(image.folder)), None)
        if not mine and top in names:
            mine, by_folder = {str(top)}, by_folder + 1
        of_images.append(mine)
    used = set().union(*of_images)
    classes = [name for name in names if name in used]
    kept = []
    for image, mine, document in zip(images, of_images, documents, strict=True):
        if mine:
            image.labels = [classes.index(name) for name in classes if name in mine]
            image.annotations, image.drafts = len(document), sum(map(is_draft, document))
            kept.append(image)
    notes = []
    if by_folder:
        notes.append(f"The class of {by_folder} images was taken from their folder.")
    if len(kept) < len(images):
        notes.append(f"{len(images) - len(kept)} images have no class and were left out.")
    multi_label = any(len(image.labels) > 1 for image in kept)
    if multi_label:
        notes.append("Some images have several classes, so each class is told by itself (multi-label).")
    return Labelled(Task.CLASSIFICATION, classes, kept, multi_label, notes, 0)


def _with_shapes(
    task: Task,
    names: list[str],
    images: list[LabelledImage],
    documents: list[list[dict[str, Any]]],
    statuses: list[str],
    attributes: Attributes,
) -> Labelled:
    outlined = {a["name"] for document in documents for a in document if a["type"] == "polygon"}
    used = {a["name"] for document in documents for a in document if a["type"] in {"polygon", "bbox"}}
    classes = [name for name in names if name in used]
    index = {name: label for label, name in enumerate(classes)}
    dropped: Counter[str] = Counter()
    kept, polygons = [], 0
    for image, document, status in zip(images, documents, statuses, strict=True):
        for annotation in document:
            if annotation["type"] not in {"polygon", "bbox"}:
                dropped["points and lines (or tags), which this pipeline cannot learn from"] += 1
                continue
            boxed = annotation["type"] == "bbox"
            if task in MASK_TASKS and boxed and annotation["name"] in outlined:
                dropped["boxes of classes that are outlined elsewhere"] += 1
                continue
            shape = _shape(annotation, index[annotation["name"]], image.width, image.height)
            if shape is None:
                dropped["objects smaller than a pixel, or outside of their image"] += 1
                continue
            shape.options = _options(annotation, attributes.get(annotation["name"], {}))
            polygons += not boxed
            image.annotations += 1
            image.drafts += is_draft(annotation)
            image.shapes.append(shape)
        if image.shapes or status == COMPLETE:
            kept.append(image)
    notes = [f"{count} {what} were left out." for what, count in dropped.items()]
    if len(kept) < len(images):
        notes.append(
            f"{len(images) - len(kept)} images that have no annotation and are not complete were left out."
        )
    empty = sum(not image.shapes for image in kept)
    if empty:
        notes.append(f"{empty} complete images without an object teach what is background.")
    if task in MASK_TASKS and (boxes := [name for name in classes if name not in outlined]) and polygons:
        notes.append(f"Boxes count as rectangles for the classes without a polygon: {', '.join(boxes[:10])}.")
    return Labelled(task, classes, kept, False, notes, polygons)


def _options(annotation: dict[str, Any], attributes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    chosen = options_in(annotation.get("attributes", ()), attributes)
    return {name: option for name, option in chosen.items() if option in attributes[name]}


def _shape(annotation: dict[str, Any], label: int, width: int, height: int) -> Shape | None:
    rings: list[NDArray[np.float32]] = []
    if annotation["type"] == "polygon":
        rings = [
            np.array([(p["x"], p["y"]) for p in ring], np.float32) for ring in annotation["polygon"]["paths"]
        ]
        points = np.concatenate(rings)
        corners = np.concatenate((points.min(axis=0), points.max(axis=0)))
    else:
        box = annotation["bounding_box"]
        corners = np.array([box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"]])
    left, top, right, bottom = (float(v) for v in np.clip(corners, 0, (width, height, width, height)))
    if right - left < LEAST_SIDE or bottom - top < LEAST_SIDE:
        return None
    return Shape(label, (left, top, right, bottom), rings)


def _corners(box: NDArray[np.float32]) -> NDArray[np.float32]:
    left, top, right, bottom = box
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
