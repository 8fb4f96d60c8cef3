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

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import orjson

from tintype_studio.formats.base import (
    SPLITS,
    ExportItem,
    ExportWriter,
    counted,
    folder_segments,
    member_path,
    to_json,
)
from tintype_studio.formats.figures import Figure, lengths_of, points_of, ring_of_text
from tintype_studio.formats.outlines import shared, six_decimals
from tintype_studio.formats.shapes import Ring, clip_ring, join_rings, nesting
from tintype_studio.formats.stems import Stems

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BATCH_SIZE = 8_192
"""Vertices and boxes that wait to be written together."""

_HEAD = struct.Struct("<QQ")


class _Pending(NamedTuple):
    """An image that waits; it must not hold the item, whose file may be large."""

    name: str
    width: int
    height: int
    figures: Sequence[Figure]


class YoloWriter(ExportWriter):
    """Writes YOLO labels. Boxes wait in a temporary file as long as no polygon has occurred."""

    format: ClassVar[str] = "yolo"
    takes_figures: ClassVar[bool] = True

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

    def _add(self, item: ExportItem, annotations: Sequence[Figure]) -> None:
        split = item.split or "train"
        original = member_path(split, folder_segments(item.folder), item.filename)
        segments = [f"{s}_" if s == "images" else s for s in folder_segments(item.folder)]
        name, extension = self._stems.place(split, segments, item.filename, original=original)
        self._used.add(split)
        self._unassigned += item.split is None
        if item.image is not None:
            self._pictures += 1
            self.store_image(item, f"images/{name}{extension}")
        self._pending.append(_Pending(name, item.width, item.height, annotations))
        self._pending_size += 1 + sum([f.texts[0].count(",") // 2 + 1 if f.texts else 1 for f in annotations])
        if self._pending_size >= BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        """Write the pending images; the shapes of many are turned into text in a third of the time."""
        pending = self._pending
        figures = [figure for image in pending for figure in image.figures]
        polygons = self._polygons()
        self._segment = self._segment or any(line is not None for line in polygons)
        boxes = [figure for figure in figures if figure.box is not None]
        owners = [n for n, image in enumerate(pending) for figure in image.figures if figure.box is not None]
        classes, corners, fits = self._corners(boxes, owners)
        kept = sum(line is not None for line in polygons) + int(fits.sum())
        self.written += kept
        self.left_out += len(figures) - kept
        self.counts["boxes"] += int(fits.sum())
        self.counts["outside"] += len(polygons) + len(boxes) - kept
        if len(polygons) + len(boxes) < len(figures):
            for kind in ("polyline", "keypoint"):
                self.counts[f"{kind}s"] += sum(figure.kind == kind for figure in figures)
        held = chain(zip(boxes, fits.tolist(), strict=True), zip(_outlined(figures), polygons, strict=True))
        self.counts["extras"] += sum([bool(line) for f, line in held if f.confidence < 1 or f.attributes])
        # Once a polygon has come, all lines are of its kind.
        if self._segment:
            found, lines = iter(polygons), iter(_box_lines(classes, corners, segment=True))
            ok = iter(fits.tolist())
            for image in pending:
                text = []
                for figure in image.figures:
                    if figure.kind == "polygon":
                        text.append(next(found) or b"")
                    elif figure.box is not None:
                        line = next(lines)
                        text.append(line if next(ok) else b"")
                self.archive.write(f"labels/{image.name}.txt", b"".join(text))
        else:
            import numpy as np

            counts = np.bincount(np.array(owners, dtype=np.int64)[fits], minlength=len(pending)).tolist()
            head = to_json([[image.name for image in pending], counts])
            corners, classes = corners[fits], classes[fits]
            self._waiting.append(_HEAD.pack(len(head), len(corners)))
            self._waiting.append(head + classes.tobytes() + corners.tobytes())
        self._pending.clear()
        self._pending_size = 0

    def _polygons(self) -> list[bytes | None]:
        """A line of each polygon that waits; None if there is nothing of it inside the image."""
        import numpy as np

        found = [(image, f) for image in self._pending for f in image.figures if f.kind == "polygon"]
        single = [(image, f) for image, f in found if len(f.texts) == 1]
        texts: Iterator[bytes | None] = iter(())
        if single:
            rings = [figure.texts[0] for _, figure in single]
            sizes = np.array([(image.width, image.height) for image, _ in single], dtype=float)
            texts = iter(shared(points_of(rings), lengths_of(rings), sizes))
        lines = []
        for image, figure in found:
            text = next(texts) if len(figure.texts) == 1 else None
            index = self.class_index[figure.name]
            lines.append(
                self._polygon_line(index, figure, image) if text is None else b"%d%b\n" % (index, text)
            )
        return lines

    def _corners(
        self, boxes: Sequence[Figure], owners: Sequence[int]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Of boxes: their classes; left, top, right, bottom ``(boxes, 4)`` inside the image, as shares of its
        size; and whether there is anything of them inside.
        """
        import numpy as np

        index, pending = self.class_index, self._pending
        classes = np.array([index[box.name] for box in boxes], dtype=np.int32)
        told = np.array([box.box for box in boxes], dtype=float).reshape(-1, 4)
        of_images = np.array([(image.width, image.height) for image in pending], dtype=float).reshape(-1, 2)
        sizes = of_images[np.array(owners, dtype=np.int64)]
        ends = told[:, :2] + told[:, 2:]
        low, high = np.maximum(0.0, told[:, :2]) / sizes, np.minimum(sizes, ends) / sizes
        fits = np.all(high > low, axis=1)
        beyond = np.minimum(told[:, :2], sizes - told[:, :2] - told[:, 2:]).min(axis=1) < -1e-6
        self.counts["cut"] += int((beyond & fits).sum())
        return classes, np.concatenate([low, high], axis=1), fits

    def _polygon_line(self, index: int, figure: Figure, item: _Pending) -> bytes | None:
        width, height = item.width, item.height
        rings = [ring_of_text(text) for text in figure.texts]
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

    def _finish(self) -> None:
        self._flush()
        self._write_waiting()
        self.archive.write("data.yaml", self._data_yaml().encode())

    def _write_waiting(self) -> None:
        """The images that came before the first polygon."""
        import numpy as np

        waiting = self._waiting.reopened()
        while head := waiting.read(_HEAD.size):
            size, boxes = _HEAD.unpack(head)
            names, counts = orjson.loads(waiting.read(size))
            classes = np.frombuffer(waiting.read(4 * boxes), dtype=np.int32)
            corners = np.frombuffer(waiting.read(32 * boxes), dtype=float).reshape(-1, 4)
            lines, at = _box_lines(classes, corners, segment=self._segment), 0
            for name, count in zip(names, counts, strict=True):
                self.archive.write(f"labels/{name}.txt", b"".join(lines[at : at + count]))
                at += count

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


def _outlined(figures: Sequence[Figure]) -> list[Figure]:
    return [figure for figure in figures if figure.kind == "polygon"]


def _box_lines(
    classes: npt.NDArray[np.int32], corners: npt.NDArray[np.float64], *, segment: bool
) -> list[bytes]:
    """A line of each box."""
    import numpy as np

    left, top, right, bottom = corners.T
    if segment:
        values = [left, top, right, top, right, bottom, left, bottom]
    else:
        values = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    rows = six_decimals(np.clip(np.stack(values, axis=1), 0, 1), exact=True)
    text, width = rows.tobytes(), rows.shape[1]
    return [
        b"%d%b\n" % (index, text[at : at + width])
        for index, at in zip(classes.tolist(), range(0, len(text), width), strict=True)
    ]


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
