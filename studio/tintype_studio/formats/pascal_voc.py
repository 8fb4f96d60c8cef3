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
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import orjson

from tintype_studio.formats.archive import PackedSpool
from tintype_studio.formats.attributes import flatten
from tintype_studio.formats.base import ExportClass, ExportItem, ExportWriter, counted, folder_segments
from tintype_studio.formats.figures import Figure, lengths_of, points_of
from tintype_studio.formats.stems import Stems
from tintype_studio.formats.xml_text import cleaned, distinct, escaped

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SETS = ("train", "val", "trainval", "test")
_COLOR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


BATCH_POINTS = 8_192
"""Vertices and boxes that wait to be written together."""


class _Pending(NamedTuple):
    """An image that waits; it must not hold the item, whose file may be large."""

    stem: str
    extension: str
    width: int
    height: int
    figures: list[Figure]


class PascalVocWriter(ExportWriter):
    """Writes Pascal VOC XML."""

    format: ClassVar[str] = "pascal_voc"
    takes_figures: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stems = Stems()
        self._sets: dict[str, PackedSpool] = {}
        self._pending: list[_Pending] = []
        self._waiting = 0
        self._labels = distinct(list(self.class_index))
        self._escaped = {name: escaped(kept) for name, kept in self._labels.items()}
        self._source = f"<source><database>{escaped(self.dataset_name)}</database></source>"

    def _add(self, item: ExportItem, annotations: Sequence[Figure]) -> None:
        stem, extension = self._stems.place("JPEGImages", folder_segments(item.folder), item.filename)
        stem, extension = cleaned(stem.removeprefix("JPEGImages/")), cleaned(extension)
        figures = [figure for figure in annotations if figure.kind in {"bbox", "polygon"}]
        if len(figures) < len(annotations):
            self.left_out += len(annotations) - len(figures)
            for kind in ("polyline", "keypoint"):
                self.counts[f"{kind}s"] += sum(figure.kind == kind for figure in annotations)
        self.store_image(item, f"JPEGImages/{stem}{extension}")
        for name in {"train": ("train", "trainval"), "val": ("val", "trainval"), None: ("trainval",)}.get(
            item.split, ("test",)
        ):
            if name not in self._sets:
                self._sets[name] = self.spool()
            self._sets[name].append(f"{stem}\n".encode())
        self._pending.append(_Pending(stem, extension, item.width, item.height, figures))
        self._waiting += 1 + sum(
            [text.count(",") // 2 + 1 for figure in figures for text in figure.texts or ("",)]
        )
        if self._waiting >= BATCH_POINTS:
            self._flush()

    def _flush(self) -> None:
        """Write the pending images; the numbers of many are turned into text in half the time."""
        figures = [figure for image in self._pending for figure in image.figures]
        rings = [text for figure in figures for text in figure.texts]
        points, lengths = points_of(rings), lengths_of(rings)
        corners = _corners(figures, points, lengths)
        points += 1
        numbers, ends = _numbers(points.ravel()), (2 * lengths.cumsum()).tolist()
        polygons = iter(
            [
                _template((end - start) // 2) % tuple(numbers[start:end])
                for start, end in zip([0, *ends], ends, strict=False)
            ]
        )
        rows = iter(corners.tolist())
        corners[:, :2] += 1
        texts = _numbers(corners.ravel())
        boxes = iter(zip(texts[::4], texts[1::4], texts[2::4], texts[3::4], strict=True))
        for image in self._pending:
            objects = "".join(
                [self._object(f, image, next(rows), next(boxes), polygons) for f in image.figures]
            )
            segmented = int("<polygon>" in objects)
            size = f"<width>{image.width}</width><height>{image.height}</height>"
            text = (
                "<annotation>\n<folder>JPEGImages</folder>\n"
                f"<filename>{escaped(image.stem + image.extension)}</filename>\n{self._source}\n"
                f"<size>{size}<depth>3</depth></size>\n<segmented>{segmented}</segmented>\n{objects}</annotation>\n"
            )
            self.archive.write(f"Annotations/{image.stem}.xml", text.encode())
        self._pending.clear()
        self._waiting = 0

    def _object(
        self,
        figure: Figure,
        image: _Pending,
        corners: list[float],
        texts: tuple[str, ...],
        polygons: Iterator[str],
    ) -> str:
        """One object: its corners in pixels and as text, and the elements of the polygons that come next."""
        rings = len(figure.texts)
        elements = next(polygons) if rings == 1 else "".join([next(polygons) for _ in range(rings)])
        self.written += 1
        if rings:
            self.counts["polygons"] += 1
            self.counts["several"] += rings > 1
        left, top, right, bottom = corners
        beyond = left < 0 or top < 0 or right > image.width or bottom > image.height
        pairs = flatten(figure)
        return _OBJECT % (
            self._escaped[figure.name],
            beyond,
            *texts,
            elements,
            _attributes(pairs) if pairs else "",
        )

    def _finish(self) -> None:
        self._flush()
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


def _corners(
    figures: list[Figure], points: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Left, top, right, bottom of each figure ``(figures, 4)``; points and lengths are those of all rings."""
    import numpy as np

    out = np.empty((len(figures), 4))
    boxes = [figure.box for figure in figures if figure.box is not None]
    is_box = np.array([figure.box is not None for figure in figures], dtype=bool)
    if boxes:
        out[is_box] = boxes
        out[is_box, 2:] += out[is_box, :2]
    if len(points):
        of_rings = np.array([len(figure.texts) for figure in figures if figure.texts])
        starts = (lengths.cumsum() - lengths)[of_rings.cumsum() - of_rings]
        out[~is_box, :2] = np.minimum.reduceat(points, starts)
        out[~is_box, 2:] = np.maximum.reduceat(points, starts)
    return out


def _numbers(values: npt.NDArray[np.float64]) -> list[str]:
    """The numbers as JSON writes them, whole ones without a point: some readers know only integers."""
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    return (text[1:-1] + b",").replace(b".0,", b",").decode()[:-1].split(",")


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
