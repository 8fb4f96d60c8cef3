"""COCO: bounding boxes, instance masks and keypoints.

    annotations.json                        everything, if no image has a split
    annotations/instances_<split>.json      else one per split: train, val, test, and ``unassigned`` for
                                            images that have none
    images/<folder>/<filename>              if images are included

Ids of images, annotations and categories start at 1; categories keep the order of the dataset's classes,
and are the same in every split; ids of images and annotations are unique across splits. ``file_name`` is
relative to ``images/`` and includes the folder. Coordinates are written exactly. ``iscrowd`` is always 0.

- A box has an empty ``segmentation``, for no mask is known; its ``area`` is that of the box.
- A polygon is a list of rings. If its rings are nested, cross or touch (holes above all), its
  ``segmentation`` is uncompressed RLE instead, since readers unite rings and would fill the holes; the
  part outside the image is cut off then. ``area`` is the exact even-odd area, ``bbox`` encloses the
  vertices.
- A keypoint is an annotation with one visible keypoint and an empty box; the category's ``keypoints``
  lists the one name, the class's.
- A polyline cannot be held.

``score`` (if below 1) and ``attributes`` (if there are any) are added keys, which COCO readers skip.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, ClassVar, NamedTuple

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    KeypointAnnotation,
    PolygonAnnotation,
)
from tintype_studio.formats.archive import PackedSpool
from tintype_studio.formats.base import (
    ExportItem,
    ExportWriter,
    counted,
    folder_segments,
    member_path,
    to_json,
)
from tintype_studio.formats.outlines import flat, outlines
from tintype_studio.formats.shapes import (
    Measured,
    Ring,
    bounds,
    clip_ring,
    measure,
    run_lengths,
)

UNASSIGNED = "unassigned"
BATCH_POINTS = 8_192
"""Vertices that wait to be measured together."""


class _Pending(NamedTuple):
    """An annotation that waits; it must not hold the item, whose image may be large."""

    spool: PackedSpool
    annotation: Annotation
    rings: list[list[float]]
    """Flat."""
    image_id: int
    width: int
    height: int


_UNKNOWN: tuple[float | None, list[float]] = (None, [])


class CocoWriter(ExportWriter):
    """Writes COCO JSON. Image and annotation entries wait in temporary files, as each file lists both."""

    format: ClassVar[str] = "coco"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries: dict[str, tuple[PackedSpool, PackedSpool]] = {}
        self._pending: list[_Pending] = []
        self._pending_points = 0
        self._landmarks: set[int] = set()
        self._unassigned = 0

    def _add(self, item: ExportItem) -> None:
        path = member_path("images", folder_segments(item.folder), item.filename)
        self.store_image(item, path)
        split = item.split or UNASSIGNED
        self._unassigned += item.split is None
        if split not in self._entries:
            self._entries[split] = (self.spool(separator=b",\n"), self.spool(separator=b",\n"))
        images, annotations = self._entries[split]
        image = {
            "id": self.images + 1,
            "file_name": path.removeprefix("images/"),
            "width": item.width,
            "height": item.height,
        }
        images.append(to_json(image))
        number, width, height = self.images + 1, item.width, item.height
        for annotation in item.annotations:
            rings = []
            if isinstance(annotation, PolygonAnnotation):
                rings = [flat(points) for points in annotation.polygon.paths]
                self._pending_points += sum(map(len, rings))
            self._pending.append(_Pending(annotations, annotation, rings, number, width, height))
            self._pending_points += 1
        if self._pending_points >= BATCH_POINTS:
            self._flush()

    def _flush(self) -> None:
        """Write the pending annotations; measuring their polygons together costs a tenth."""
        pending = self._pending
        single = iter(outlines([p.rings[0] for p in pending if len(p.rings) == 1]))
        found = [next(single) if len(p.rings) == 1 else _UNKNOWN for p in pending]
        unclear = [n for n, p in enumerate(pending) if p.rings and found[n][0] is None]
        polygons = dict(zip(unclear, measure([_rings(pending[n].rings) for n in unclear]), strict=True))
        for spool, group in groupby(enumerate(pending), key=lambda numbered: numbered[1].spool):
            entries = []
            for number, each in group:
                area, box = found[number]
                if area is not None:
                    self.counts["polygons"] += 1
                    shape: dict[str, Any] | None = {"segmentation": each.rings, "area": area, "bbox": box}
                else:
                    shape = self._shape(each, polygons.get(number))
                if shape is None:
                    self.left_out += 1
                    continue
                self.written += 1
                annotation = each.annotation
                entry = {
                    "id": self.written,
                    "image_id": each.image_id,
                    "category_id": self.class_index[annotation.name] + 1,
                    **shape,
                    "iscrowd": 0,
                }
                if annotation.confidence < 1:
                    entry["score"] = annotation.confidence
                if annotation.attributes:
                    entry["attributes"] = annotation.attributes
                entries.append(entry)
            if entries:
                spool.append(to_json(entries)[1:-1])
        pending.clear()
        self._pending_points = 0

    def _shape(self, pending: _Pending, measured: Measured | None) -> dict[str, Any] | None:
        """What COCO says of the shape, or None if it cannot hold it."""
        match pending.annotation:
            case BBoxAnnotation(bounding_box=box):
                self.counts["boxes"] += 1
                return {"segmentation": [], "area": box.w * box.h, "bbox": [box.x, box.y, box.w, box.h]}
            case KeypointAnnotation(name=name, keypoint=point):
                self.counts["keypoints"] += 1
                self._landmarks.add(self.class_index[name])
                shape: dict[str, Any] = {
                    "segmentation": [],
                    "area": 0.0,
                    "bbox": [point.x, point.y, 0.0, 0.0],
                }
                return shape | {"keypoints": [point.x, point.y, 2], "num_keypoints": 1}
            case _ if measured is not None:
                return self._polygon(pending, measured)
            case _:
                self.counts["polylines"] += 1
                return None

    def _polygon(self, pending: _Pending, measured: Measured) -> dict[str, Any] | None:
        rings, width, height = _rings(pending.rings), pending.width, pending.height
        segmentation: Any
        if measured.needs_mask:
            # A mask ends at the border, so what is said of it must too.
            clipped = [clip_ring(ring, width, height) for ring in rings]
            if clipped != rings:
                rings = [ring for ring in clipped if len(ring[0]) >= 3]
                if not rings:
                    self.counts["outside"] += 1
                    return None
                (measured,) = measure([rings])
            segmentation = {"size": [height, width], "counts": run_lengths(rings, width, height)}
            self.counts["masks"] += 1
        else:
            segmentation = pending.rings
        left, top, right, bottom = bounds(rings)
        self.counts["polygons"] += 1
        return {
            "segmentation": segmentation,
            "area": measured.area,
            "bbox": [left, top, right - left, bottom - top],
        }

    def _finish(self) -> None:
        self._flush()
        categories = []
        for index, cls in enumerate(self.classes):
            category: dict[str, Any] = {"id": index + 1, "name": cls.name, "supercategory": ""}
            if index in self._landmarks:
                category |= {"keypoints": [cls.name], "skeleton": []}
            categories.append(category)
        head = {
            "info": {
                "description": self.dataset_name,
                "version": "1.0",
                "year": self.archive.created_at.year,
                "contributor": "",
                "date_created": self.archive.created_at.isoformat(),
            },
            "licenses": [],
            "categories": categories,
        }
        opening = to_json(head)[:-1] + b',"images":[\n'
        if not self._entries:
            self._entries[UNASSIGNED] = (self.spool(), self.spool())
        whole = list(self._entries) == [UNASSIGNED]
        for split in ("train", "val", "test", UNASSIGNED):
            if split not in self._entries:
                continue
            images, annotations = self._entries[split]
            path = "annotations.json" if whole else f"annotations/instances_{split}.json"
            parts: list[bytes | PackedSpool] = [
                opening,
                images,
                b'\n],"annotations":[\n',
                annotations,
                b"\n]}\n",
            ]
            self.archive.write_chunks(path, parts)

    def _notes(self) -> list[str]:
        counts, notes = self.counts, []
        if n := counts["polylines"]:
            notes.append(f"{counted(n, 'polyline was', 'polylines were')} left out: COCO has no open lines.")
        if n := counts["outside"]:
            notes.append(
                f"{counted(n, 'polygon with holes was', 'polygons with holes were')} left out: nothing of it "
                "lies inside the image."
            )
        if n := counts["masks"]:
            notes.append(
                f"{counted(n, 'polygon has', 'polygons have')} holes or overlapping rings and went in as RLE "
                "masks: COCO rings have no holes, so these outlines are held to the pixel."
            )
        if n := counts["keypoints"]:
            notes.append(
                f"{counted(n, 'keypoint was', 'keypoints were')} written as COCO keypoints, one per "
                "annotation, with an empty box."
            )
        if counts["boxes"] and counts["polygons"]:
            notes.append(
                f"{counted(counts['boxes'], 'box has', 'boxes have')} an empty segmentation: filter them out "
                "before evaluating masks."
            )
        if self._unassigned and self._unassigned < self.images:
            notes.append(
                f"{counted(self._unassigned, 'image has', 'images have')} no split and went to "
                f"annotations/instances_{UNASSIGNED}.json."
            )
        return notes


def _rings(flat_rings: list[list[float]]) -> list[Ring]:
    return [(values[::2], values[1::2]) for values in flat_rings]
