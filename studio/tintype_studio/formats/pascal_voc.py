"""Pascal VOC, with the polygons that its users have added to it.

    Annotations/<folder>/<stem>.xml         one per image
    JPEGImages/<folder>/<filename>          if images are included
    ImageSets/Main/<set>.txt                stems: train, val, test, and trainval (train, val, and those
                                            without a split)
    labelmap.txt                            classes with their colours, as CVAT and Datumaro write it

Coordinates follow the devkit, where the first pixel has the number 1: a box begins at ``x + 1`` and ends at
``x + w``, vertices are moved by one. They are exact, so decimals occur; VOC's own files have some, too. A
box that reaches beyond the image is ``truncated``.

- A polygon has its box and a ``polygon`` (``x1``, ``y1``, ``x2``, …) for each of its rings, which are
  filled even-odd; readers of plain VOC see the box.
- Polylines and keypoints cannot be held.
- Confidence below 1 and attributes are ``attributes`` of the object, as CVAT and Datumaro write them
  (``attributes.py`` says how).

What XML cannot hold is replaced by U+FFFD. A second image of the same stem is renamed (``a_2.png``).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar

import orjson

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    KeypointAnnotation,
    Point,
    PolygonAnnotation,
)
from tintype_studio.formats.archive import PackedSpool
from tintype_studio.formats.attributes import flatten
from tintype_studio.formats.base import ExportClass, ExportItem, ExportWriter, counted, folder_segments
from tintype_studio.formats.shapes import bounds, ring_of
from tintype_studio.formats.stems import Stems
from tintype_studio.formats.xml_text import cleaned, distinct, escaped

SETS = ("train", "val", "trainval", "test")
_COLOR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


class PascalVocWriter(ExportWriter):
    """Writes Pascal VOC XML."""

    format: ClassVar[str] = "pascal_voc"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stems = Stems()
        self._sets: dict[str, PackedSpool] = {}
        self._labels = distinct(list(self.class_index))
        self._escaped = {name: escaped(kept) for name, kept in self._labels.items()}
        self._source = f"<source><database>{escaped(self.dataset_name)}</database></source>"

    def _add(self, item: ExportItem) -> None:
        stem, extension = self._stems.place("JPEGImages", folder_segments(item.folder), item.filename)
        stem, extension = cleaned(stem.removeprefix("JPEGImages/")), cleaned(extension)
        objects = "".join([self._object(annotation, item) for annotation in item.annotations])
        segmented = int("<polygon>" in objects)
        text = (
            f"<annotation>\n<folder>JPEGImages</folder>\n<filename>{escaped(stem + extension)}</filename>\n"
            f"{self._source}\n<size><width>{item.width}</width><height>{item.height}</height><depth>3</depth></size>\n"
            f"<segmented>{segmented}</segmented>\n{objects}</annotation>\n"
        )
        self.archive.write(f"Annotations/{stem}.xml", text.encode())
        self.store_image(item, f"JPEGImages/{stem}{extension}")
        for name in {"train": ("train", "trainval"), "val": ("val", "trainval"), None: ("trainval",)}.get(
            item.split, ("test",)
        ):
            if name not in self._sets:
                self._sets[name] = self.spool()
            self._sets[name].append(f"{stem}\n".encode())

    def _object(self, annotation: Annotation, item: ExportItem) -> str:
        polygons = ""
        match annotation:
            case BBoxAnnotation(bounding_box=box):
                left, top, right, bottom = box.x, box.y, box.x + box.w, box.y + box.h
            case PolygonAnnotation():
                paths = annotation.polygon.paths
                left, top, right, bottom = bounds([ring_of(path) for path in paths])
                polygons = "".join([_polygon(path) for path in paths])
            case _:
                kind = "keypoints" if isinstance(annotation, KeypointAnnotation) else "polylines"
                self.counts[kind] += 1
                self.left_out += 1
                return ""
        self.written += 1
        if polygons:
            self.counts["polygons"] += 1
            self.counts["several"] += len(paths) > 1
        beyond = min(left, top, item.width - right, item.height - bottom) < 0
        corners = _numbers([left + 1, top + 1, right, bottom])
        pairs = flatten(annotation)
        return _OBJECT % (
            self._escaped[annotation.name],
            beyond,
            *corners,
            polygons,
            _attributes(pairs) if pairs else "",
        )

    def _finish(self) -> None:
        for name in SETS:
            if name in self._sets:
                self.archive.write_chunks(f"ImageSets/Main/{name}.txt", [self._sets[name]])
        lines = ["# label:color_rgb:parts:actions"]
        for cls in self.classes:
            label = self._labels[cls.name]
            if ":" in label or "\n" in label or label.startswith("#"):
                self.counts["unlisted"] += 1
            else:
                lines.append(f"{label}:{_rgb(cls)}::")
        self.archive.write("labelmap.txt", ("\n".join(lines) + "\n").encode())

    def _notes(self) -> list[str]:
        counts, notes = self.counts, []
        for kind, one, many in (
            ("polylines", "polyline was", "polylines were"),
            ("keypoints", "keypoint was", "keypoints were"),
        ):
            if n := counts[kind]:
                notes.append(f"{counted(n, one, many)} left out: Pascal VOC holds boxes and polygons.")
        if n := counts["polygons"]:
            notes.append(
                f"{counted(n, 'polygon was', 'polygons were')} written as <polygon> beside the box, which "
                "readers of plain Pascal VOC skip."
            )
        if n := counts["several"]:
            notes.append(
                f"{counted(n, 'polygon has', 'polygons have')} several rings, one <polygon> each: some "
                "readers fill the holes."
            )
        changed = sum(name != kept for name, kept in self._labels.items())
        if changed:
            notes.append(
                f"{counted(changed, 'class name holds', 'class names hold')} a character that XML cannot; "
                "it was replaced."
            )
        if n := counts["unlisted"]:
            notes.append(
                f"{counted(n, 'class is', 'classes are')} not in labelmap.txt, which has no way to "
                "write the name."
            )
        return notes + self._stems.notes()


_OBJECT = (
    "<object>\n<name>%s</name>\n<pose>Unspecified</pose>\n<truncated>%d</truncated>\n<difficult>0</difficult>\n"
    "<bndbox><xmin>%s</xmin><ymin>%s</ymin><xmax>%s</xmax><ymax>%s</ymax></bndbox>\n%s%s</object>\n"
)


def _polygon(path: list[Point]) -> str:
    values = [0.0] * (2 * len(path))
    values[::2] = [p.x + 1 for p in path]
    values[1::2] = [p.y + 1 for p in path]
    return _template(len(path)) % tuple(_numbers(values))


def _numbers(values: list[float]) -> list[str]:
    """The numbers as JSON writes them, whole ones without a point: some readers know only integers."""
    return (orjson.dumps(values)[1:-1] + b",").replace(b".0,", b",").decode()[:-1].split(",")


@lru_cache(maxsize=512)
def _template(points: int) -> str:
    inner = "".join([f"<x{n}>%s</x{n}><y{n}>%s</y{n}>" for n in range(1, points + 1)])
    return f"<polygon>{inner}</polygon>\n"


def _attributes(pairs: list[tuple[str, str]]) -> str:
    inner = "".join(
        f"<attribute><name>{escaped(name)}</name><value>{escaped(text)}</value></attribute>\n"
        for name, text in pairs
    )
    return f"<attributes>\n{inner}</attributes>\n"


def _rgb(cls: ExportClass) -> str:
    found = _COLOR.fullmatch(cls.color or "")
    return ",".join(str(int(channel, 16)) for channel in found.groups()) if found else ""
