"""YOLO in the folder layout of Ultralytics: detection, or segmentation if there is any polygon.

    data.yaml                                  names and folders
    labels/<split>/<folder>/<stem>.txt         one per image, empty if it has no annotations
    images/<split>/<folder>/<filename>         if images are included

Images without a split go to ``train``. ``path`` in data.yaml is empty, which Ultralytics reads as the
folder of that file, so the export can be unpacked anywhere. Ultralytics demands both ``train`` and ``val``;
a missing one points at a split that is there.

Lines are ``class cx cy w h`` for detection and ``class x1 y1 x2 y2 …`` for segmentation, divided by the
upright image's size, cut off at its border, six decimals, classes counted from 0 in the dataset's order.
All lines of an export are of one kind, as Ultralytics requires: beside polygons, boxes become polygons of
four corners. Several outlines of one polygon are joined by lines walked there and back, as Ultralytics
does; holes are filled.

A label file is found by the image's stem, under the last folder called ``images``. So a second image of
the same stem is renamed (``a_2.png``), and so is a folder called ``images`` (``images_``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, TypeAlias

import orjson

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    BoundingBox,
    KeypointAnnotation,
    Point,
    PolygonAnnotation,
)
from tintype_studio.formats.base import (
    SPLITS,
    ExportItem,
    ExportWriter,
    counted,
    folder_segments,
    member_path,
    to_json,
)
from tintype_studio.formats.outlines import flat, shares
from tintype_studio.formats.shapes import Ring, clip_ring, join_rings, nesting, ring_of
from tintype_studio.formats.stems import Stems

BATCH_SIZE = 8_192
"""Vertices and boxes that wait to be written together."""

_BOX = b"%d" + b" %.6f" * 4 + b"\n"
_POLYGON = b"%d" + b" %.6f" * 8 + b"\n"

_Box: TypeAlias = tuple[int, float, float, float, float]
"""Class, left, top, right, bottom; shares of the image's size."""


class _Pending(NamedTuple):
    """An image that waits; it must not hold the item, whose file may be large."""

    name: str
    width: int
    height: int
    annotations: Sequence[Annotation]


class YoloWriter(ExportWriter):
    """Writes YOLO labels. Boxes wait in a temporary file as long as no polygon has occurred."""

    format: ClassVar[str] = "yolo"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = self.plain_spool()
        self._pending: list[_Pending] = []
        self._pending_size = 0
        self._stems = Stems()
        self._used: set[str] = set()
        self._segment = False
        self._unassigned = 0
        self._pictures = 0

    def _add(self, item: ExportItem) -> None:
        split = item.split or "train"
        original = member_path(split, folder_segments(item.folder), item.filename)
        segments = [f"{s}_" if s == "images" else s for s in folder_segments(item.folder)]
        name, extension = self._stems.place(split, segments, item.filename, original=original)
        self._used.add(split)
        self._unassigned += item.split is None
        if item.image is not None:
            self._pictures += 1
            self.store_image(item, f"images/{name}{extension}")
        self._pending.append(_Pending(name, item.width, item.height, item.annotations))
        self._pending_size += 1 + sum(map(_size, item.annotations))
        if self._pending_size >= BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        """Write the pending images; the outlines of many are turned into text in a third of the time."""
        rings, sizes = [], []
        for pending in self._pending:
            for annotation in pending.annotations:
                if isinstance(annotation, PolygonAnnotation) and len(annotation.polygon.paths) == 1:
                    rings.append(flat(annotation.polygon.paths[0]))
                    sizes.append((pending.width, pending.height))
        texts = iter(shares(rings, sizes))
        for pending in self._pending:
            shapes = []
            for annotation in pending.annotations:
                shape = self._shape(annotation, pending, texts)
                if shape is None:
                    self.left_out += 1
                    continue
                self.written += 1
                self.counts["extras"] += bool(annotation.confidence < 1 or annotation.attributes)
                shapes.append(shape)
            # Once a polygon has come, all lines are of its kind.
            if self._segment:
                self._write(pending.name, shapes)
            else:
                self._waiting.append(to_json([pending.name, shapes]) + b"\n")
        self._pending.clear()
        self._pending_size = 0

    def _shape(
        self, annotation: Annotation, item: _Pending, texts: Iterator[bytes | None]
    ) -> bytes | _Box | None:
        """A line of a segmentation, or a box that may still become one; None if YOLO cannot hold it."""
        index = self.class_index[annotation.name]
        shape: bytes | _Box | None
        match annotation:
            case PolygonAnnotation():
                text = next(texts) if len(annotation.polygon.paths) == 1 else None
                if text is not None:
                    shape = b"%d%b\n" % (index, text)
                else:
                    shape = self._polygon_line(index, annotation.polygon.paths, item)
                self._segment = self._segment or shape is not None
            case BBoxAnnotation(bounding_box=box):
                shape = _inside(index, box, item.width, item.height)
                if shape is not None:
                    self.counts["boxes"] += 1
                    self.counts["cut"] += _leaves(box, item.width, item.height)
            case _:
                kind = "keypoints" if isinstance(annotation, KeypointAnnotation) else "polylines"
                self.counts[kind] += 1
                return None
        self.counts["outside"] += shape is None
        return shape

    def _polygon_line(self, index: int, paths: Sequence[Sequence[Point]], item: _Pending) -> bytes | None:
        width, height = item.width, item.height
        rings = [ring_of(path) for path in paths]
        if len(rings) > 1:
            depths = nesting(rings)
            holes = sum(depth % 2 for depth in depths)
            rings = [ring for ring, depth in zip(rings, depths, strict=True) if depth == 0]
        else:
            holes = 0
        inside = [clip_ring(ring, width, height) for ring in rings]
        cut = any(new is not old for new, old in zip(inside, rings, strict=True))
        rings = [ring for ring in inside if _has_extent(ring)]
        if not rings:
            return None
        self.counts["cut"] += cut
        self.counts["holes"] += holes
        self.counts["joined"] += len(rings) > 1
        xs, ys = join_rings(rings)
        values = [0.0] * (2 * len(xs))
        values[::2] = [x / width for x in xs]
        values[1::2] = [y / height for y in ys]
        return (_line_format(len(values)) % (index, *values)).encode()

    def _write(self, name: str, shapes: list[bytes | _Box]) -> None:
        lines = [shape if isinstance(shape, bytes) else _box_line(shape, self._segment) for shape in shapes]
        self.archive.write(f"labels/{name}.txt", b"".join(lines))

    def _finish(self) -> None:
        self._flush()
        for line in self._waiting.lines():
            self._write(*orjson.loads(line))
        self.archive.write("data.yaml", self._data_yaml().encode())

    def _data_yaml(self) -> str:
        used = [split for split in SPLITS if split in self._used] or ["train"]
        folders = {split: f"images/{split}" for split in used}
        folders.setdefault("train", f"images/{used[0]}")
        folders.setdefault("val", folders["train"])
        task = "segment" if self._segment else "detect"
        lines = [
            f"# Dataset {_quoted(self.dataset_name)}; task: {task}.",
            'path: ""  # empty: the folder of this file',
            *(f"{split}: {folders[split]}" for split in SPLITS if split in folders),
            "names:" if self.classes else "names: {}",
            *(f"  {index}: {_quoted(cls.name)}" for index, cls in enumerate(self.classes)),
        ]
        return "\n".join(lines) + "\n"

    def _notes(self) -> list[str]:
        counts, notes = self.counts, []
        for kind, one, many in (
            ("polylines", "polyline was", "polylines were"),
            ("keypoints", "keypoint was", "keypoints were"),
        ):
            if n := counts[kind]:
                notes.append(f"{counted(n, one, many)} left out: YOLO labels hold boxes and polygons.")
        if n := counts["outside"]:
            notes.append(
                f"{counted(n, 'annotation was', 'annotations were')} left out: no area inside the image."
            )
        if n := counts["cut"]:
            notes.append(f"{counted(n, 'shape was', 'shapes were')} cut off at the border of the image.")
        if n := counts["holes"]:
            notes.append(f"{counted(n, 'hole was', 'holes were')} filled: a YOLO polygon has no holes.")
        if n := counts["joined"]:
            notes.append(
                f"{counted(n, 'polygon', 'polygons')} of several parts: the parts were joined by thin lines, "
                "as a YOLO line is one outline."
            )
        if self._segment and (n := counts["boxes"]):
            notes.append(
                f"{counted(n, 'box was', 'boxes were')} written as polygons of four corners: beside polygons "
                "all lines must be segmentation lines."
            )
        if n := counts["extras"]:
            notes.append(
                f"{counted(n, 'annotation', 'annotations')} lost the confidence or the attributes: YOLO "
                "labels hold class and shape only."
            )
        return notes + self._stems.notes() + self._split_notes()

    def _split_notes(self) -> list[str]:
        notes = []
        if self._unassigned and self._unassigned < self.images:
            notes.append(
                f"{counted(self._unassigned, 'image has', 'images have')} no split and went to train."
            )
        if self.images and "train" not in self._used:
            notes.append("No image is in the split train; data.yaml points train at another split.")
        if self.images and "val" not in self._used:
            other = "train" if "train" in self._used else "test"
            notes.append(
                f"No image is in the split val; data.yaml points val at {other}, so scores there are not "
                "those of unseen images."
            )
        if self.images and not self._pictures:
            notes.append(
                "Images are not included: put each where its label is, under images/ in place of labels/."
            )
        return notes


def _inside(index: int, box: BoundingBox, width: int, height: int) -> _Box | None:
    """The class and what lies inside the image, as shares of its size; None if nothing is left."""
    left, right = max(0.0, box.x) / width, min(float(width), box.x + box.w) / width
    top, bottom = max(0.0, box.y) / height, min(float(height), box.y + box.h) / height
    return None if right <= left or bottom <= top else (index, left, top, right, bottom)


def _box_line(box: _Box, segment: bool) -> bytes:
    index, left, top, right, bottom = box
    if segment:
        return _POLYGON % (index, left, top, right, top, right, bottom, left, bottom)
    return _BOX % (index, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def _size(annotation: Annotation) -> int:
    return len(annotation.polygon.paths[0]) if isinstance(annotation, PolygonAnnotation) else 1


def _leaves(box: BoundingBox, width: int, height: int) -> bool:
    """Whether a box reaches beyond the image by more than rounding."""
    return min(box.x, box.y, width - box.x - box.w, height - box.y - box.h) < -1e-6


def _has_extent(ring: Ring) -> bool:
    xs, ys = ring
    return len(xs) >= 3 and min(xs) < max(xs) and min(ys) < max(ys)


@lru_cache(maxsize=256)
def _line_format(values: int) -> str:
    return "%d" + " %.6f" * values + "\n"


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; what YAML could take for a line break or not print is escaped."""
    out = []
    for char in text:
        if char in '"\\':
            out.append(f"\\{char}")
        elif char.isprintable():
            out.append(char)
        else:
            out.append(f"\\U{ord(char):08x}")
    return f'"{"".join(out)}"'
