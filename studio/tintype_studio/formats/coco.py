"""COCO: bounding boxes, instance masks and keypoints.

    annotations.json                        everything, if no image has a split
    annotations/instances_<split>.json      else one per split: train, val, test, and ``unassigned`` for
                                            images that have none
    images/<folder>/<filename>              if images are included

Ids of images, annotations and categories start at 1; categories keep the order of the dataset's classes,
and are the same in every split; ids of images and annotations are unique across splits. ``file_name`` is
relative to ``images/`` and includes the folder. Coordinates are written exactly. ``iscrowd`` is 1 where the
attributes say so, and is not told among them again.

- A box has an empty ``segmentation``, for no mask is known; its ``area`` is that of the box.
- A polygon is a list of rings. If its rings are nested, cross or touch (holes above all), its
  ``segmentation`` is uncompressed RLE instead, since readers unite rings and would fill the holes; the
  part outside the image is cut off then. ``area`` is the exact even-odd area, ``bbox`` encloses the
  vertices.
- A mask is compressed RLE, as it is kept; ``area`` counts its pixels and ``bbox`` encloses them.
- A keypoint is an annotation with one visible keypoint and an empty box; the category's ``keypoints``
  lists the one name, the class's.
- A polyline cannot be held.

``score`` (if below 1) and ``attributes`` (if there are any) are added keys, which COCO readers skip.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, ClassVar, NamedTuple

import orjson

from tintype_studio.catalog.datasets import attributes_as_json
from tintype_studio.formats.archive import PackedSpool
from tintype_studio.formats.base import (
    ExportItem,
    ExportWriter,
    counted,
    folder_segments,
    member_path,
    to_json,
)
from tintype_studio.formats.figures import (
    Figure,
    lengths_of,
    mask_of_figure,
    numbers,
    points_of,
    ring_of_text,
)
from tintype_studio.formats.outlines import measured
from tintype_studio.formats.shapes import (
    Measured,
    Ring,
    bounds,
    clip_ring,
    measure,
    run_lengths,
)

UNASSIGNED = "unassigned"
BATCH_TEXT = 1 << 17
"""Characters of coordinates that wait to be measured together."""


class _Pending(NamedTuple):
    """An image that waits; it must not hold the item, whose file may be large."""

    split: str
    number: int
    path: str
    width: int
    height: int
    figures: Sequence[Figure]


class CocoWriter(ExportWriter):
    """Writes COCO JSON. Image and annotation entries wait in temporary files, as each file lists both."""

    format: ClassVar[str] = "coco"
    lists_attributes: ClassVar[bool] = True
    takes_figures: ClassVar[bool] = True
    takes_masks: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries: dict[str, tuple[PackedSpool, PackedSpool]] = {}
        self._pending: list[_Pending] = []
        self._waiting = 0
        self._landmarks: set[int] = set()
        self._unassigned = 0

    def _add(self, item: ExportItem, annotations: Sequence[Figure]) -> None:
        path = member_path("images", folder_segments(item.folder), item.filename)
        self.store_image(item, path)
        self._unassigned += item.split is None
        self._pending.append(
            _Pending(
                item.split or UNASSIGNED, self.images + 1, path[7:], item.width, item.height, annotations
            )
        )
        self._waiting += 200 + sum([100 + len(f.texts[0]) if f.texts else 100 for f in annotations])
        if self._waiting >= BATCH_TEXT:
            self._flush()

    def _flush(self) -> None:
        """Write the pending images; measuring and writing many annotations together costs a tenth."""
        pending = self._pending
        if not pending:
            return
        figures = [figure for image in pending for figure in image.figures]
        simple = [len(f.texts) == 1 and f.kind == "polygon" for f in figures]
        shapes = self._outlines([f.texts[0] for f in compress(figures, simple)])
        if len(shapes) < len(figures):
            outlines = iter(shapes)
            shapes = [next(outlines) if plain else None for plain in simple]
        unclear = [n for n, f in enumerate(figures) if shapes[n] is None and f.kind == "polygon"]
        rings = [[ring_of_text(text) for text in figures[n].texts] for n in unclear]
        polygons = dict(zip(unclear, zip(rings, measure(rings), strict=True), strict=True))
        images: dict[str, list[str]] = {}
        entries: dict[str, list[str]] = {}
        category = {name: f',"category_id":{index + 1},' for name, index in self.class_index.items()}
        names = to_json([image.path for image in pending]).decode()[2:-2].split('","')
        at, number = 0, self.written
        for image, name in zip(pending, names, strict=True):
            images.setdefault(image.split, []).append(
                f'{{"id":{image.number},"file_name":"{name}","width":{image.width},"height":{image.height}}}'
            )
            texts = entries.setdefault(image.split, [])
            middle = f',"image_id":{image.number}'
            for figure in image.figures:
                shape = shapes[at] or self._shape(figure, image, polygons.get(at))
                at += 1
                if shape is None:
                    self.left_out += 1
                    continue
                number += 1
                more = _more(figure) if figure.confidence < 1 or figure.attributes else ',"iscrowd":0'
                texts.append(f'{{"id":{number}{middle}{category[figure.name]}{shape}{more}}}')
        self.written = number
        for split, listed in images.items():
            if split not in self._entries:
                self._entries[split] = (self.spool(separator=b",\n"), self.spool(separator=b",\n"))
            self._entries[split][0].append(",\n".join(listed).encode())
            if entries[split]:
                self._entries[split][1].append(",".join(entries[split]).encode())
        pending.clear()
        self._waiting = 0

    def _outlines(self, rings: Sequence[str]) -> list[str | None]:
        """What COCO says of each polygon of one ring; None if it may cross itself."""
        import numpy as np

        if not rings:
            return []
        told, areas, boxes = measured(points_of(rings), lengths_of(rings))
        as_text = orjson.dumps(np.column_stack([areas, boxes]), option=orjson.OPT_SERIALIZE_NUMPY)
        sizes = [row.split(",", 1) for row in as_text[2:-2].decode().split("],[")]
        self.counts["polygons"] += int(told.sum())
        return [
            f'"segmentation":[[{ring}]],"area":{area},"bbox":[{box}]' if known else None
            for known, ring, (area, box) in zip(told.tolist(), rings, sizes, strict=True)
        ]

    def _shape(
        self, figure: Figure, image: _Pending, outline: tuple[list[Ring], Measured] | None
    ) -> str | None:
        """What COCO says of the shape, or None if it cannot hold it."""
        shape: dict[str, Any] | None
        if figure.box is not None:
            self.counts["boxes"] += 1
            x, y, w, h = figure.box
            shape = {"segmentation": [], "area": w * h, "bbox": [x, y, w, h]}
        elif figure.kind == "keypoint":
            self.counts["keypoints"] += 1
            self._landmarks.add(self.class_index[figure.name])
            x, y = numbers(figure.texts)
            shape = {"segmentation": [], "area": 0.0, "bbox": [x, y, 0.0, 0.0]}
            shape |= {"keypoints": [x, y, 2], "num_keypoints": 1}
        elif figure.kind == "mask":
            shape = self._mask(figure)
        elif outline is not None:
            shape = self._polygon(figure, image, *outline)
        else:
            self.counts["polylines"] += 1
            shape = None
        return None if shape is None else to_json(shape)[1:-1].decode()

    def _mask(self, figure: Figure) -> dict[str, Any]:
        from tintype_studio.annotations.masks import area_of, box_of

        mask, box = mask_of_figure(figure), box_of(mask_of_figure(figure))
        self.counts["pixels"] += 1
        return {
            "segmentation": {"size": mask.size, "counts": mask.counts},
            "area": area_of(mask),
            "bbox": [box.x, box.y, box.w, box.h],
        }

    def _polygon(
        self, figure: Figure, image: _Pending, rings: list[Ring], found: Measured
    ) -> dict[str, Any] | None:
        width, height = image.width, image.height
        segmentation: Any
        if found.needs_mask:
            # A mask ends at the border, so what is said of it must too.
            clipped = [clip_ring(ring, width, height) for ring in rings]
            if clipped != rings:
                rings = [ring for ring in clipped if len(ring[0]) >= 3]
                if not rings:
                    self.counts["outside"] += 1
                    return None
                (found,) = measure([rings])
            segmentation = {"size": [height, width], "counts": run_lengths(rings, width, height)}
            self.counts["masks"] += 1
        else:
            segmentation = [numbers([text]) for text in figure.texts]
        left, top, right, bottom = bounds(rings)
        self.counts["polygons"] += 1
        return {
            "segmentation": segmentation,
            "area": found.area,
            "bbox": [left, top, right - left, bottom - top],
        }

    def _finish(self) -> None:
        self._flush()
        categories = []
        for index, cls in enumerate(self.classes):
            category: dict[str, Any] = {"id": index + 1, "name": cls.name, "supercategory": ""}
            if index in self._landmarks:
                category |= {"keypoints": [cls.name], "skeleton": []}
            if cls.attributes:
                category["attributes"] = attributes_as_json(cls.attributes)
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
        if counts["boxes"] and (counts["polygons"] or counts["pixels"]):
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


def _more(figure: Figure) -> str:
    """Whether it is a crowd, and the added keys."""
    attributes = [entry for entry in figure.attributes if not _of_crowd(entry)]
    crowd = any(entry["iscrowd"] for entry in figure.attributes if _of_crowd(entry))
    more = f',"iscrowd":{int(crowd)}'
    if figure.confidence < 1:
        more += f',"score":{to_json(figure.confidence).decode()}'
    return f'{more},"attributes":{to_json(attributes).decode()}' if attributes else more


def _of_crowd(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.keys() == {"iscrowd"}
