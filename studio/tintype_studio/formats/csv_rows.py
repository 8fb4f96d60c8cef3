r"""CSV: one flat table.

    annotations.csv                         a row per annotation
    images/<folder>/<filename>              if images are included

The columns ``filename,width,height,class,xmin,ymin,xmax,ymax`` are those that detectors' own tables have;
``filename`` includes the folder. Every annotation has its box there: a polygon's and a polyline's enclose
the vertices, a keypoint's is empty. ``type`` says what it is, and ``points`` gives the shape that a box
cannot: JSON rings ``[[[x,y],…],…]`` of a polygon, ``[[x,y],…]`` of a polyline, ``[x,y]`` of a keypoint.
Take only the rows of type ``bbox`` for a table of boxes. ``confidence`` is below 1 or empty, ``attributes``
JSON or empty, ``split`` may be empty. An image without annotations has one row whose ``class`` is empty.

RFC 4180: UTF-8, CRLF, quoted where needed. A spreadsheet runs a cell that begins with ``=``, ``+``, ``-``
or ``@`` as a formula, so texts (not numbers) that do get an apostrophe in front; ``unguarded`` takes it
away again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    KeypointAnnotation,
    PolygonAnnotation,
    PolylineAnnotation,
    enclosing_box,
)
from tintype_studio.formats.base import (
    ExportItem,
    ExportWriter,
    counted,
    folder_segments,
    member_path,
    to_json,
)

COLUMNS = (
    "filename",
    "width",
    "height",
    "class",
    "xmin",
    "ymin",
    "xmax",
    "ymax",
    "type",
    "points",
    "confidence",
    "attributes",
    "split",
)
# The wide forms count as well where a spreadsheet is set to Chinese or Japanese.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text that ``guarded`` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class CsvWriter(ExportWriter):
    """Writes one table. Rows wait in a temporary file, as a ZIP is written one member at a time."""

    format: ClassVar[str] = "csv"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rows = self.spool()
        self._text = io.StringIO(newline="")
        self._csv = csv.writer(self._text)
        self._csv.writerow(COLUMNS)

    def _add(self, item: ExportItem, annotations: Sequence[Annotation]) -> None:
        path = member_path("images", folder_segments(item.folder), item.filename)
        self.store_image(item, path)
        image = [guarded(path.removeprefix("images/")), item.width, item.height]
        rows = [[*image, *self._cells(annotation), item.split] for annotation in annotations]
        self._csv.writerows(rows or [[*image, *[None] * 9, item.split]])
        self._rows.append(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()

    def _cells(self, annotation: Annotation) -> list[Any]:
        points: Any = None
        match annotation:
            case BBoxAnnotation(bounding_box=box):
                left, top, w, h = box.x, box.y, box.w, box.h
            case PolygonAnnotation():
                points = [[[p.x, p.y] for p in ring] for ring in annotation.polygon.paths]
                left, top, w, h = enclosing_box(annotation)
            case PolylineAnnotation():
                points = [[p.x, p.y] for p in annotation.polyline.path]
                left, top, w, h = enclosing_box(annotation)
            case KeypointAnnotation(keypoint=point):
                points = [point.x, point.y]
                left, top, w, h = point.x, point.y, 0.0, 0.0
        self.written += 1
        self.counts["shapes"] += points is not None
        return [
            guarded(annotation.name),
            left,
            top,
            left + w,
            top + h,
            annotation.type,
            None if points is None else to_json(points).decode(),
            annotation.confidence if annotation.confidence < 1 else None,
            to_json(annotation.attributes).decode() if annotation.attributes else None,
        ]

    def _finish(self) -> None:
        self._rows.append(self._text.getvalue().encode())  # the heading, if there was no image
        self.archive.write_chunks("annotations.csv", [self._rows])

    def _notes(self) -> list[str]:
        shapes = self.counts["shapes"]
        if not shapes:
            return []
        return [
            f"{counted(shapes, 'annotation is', 'annotations are')} no box, with the shape in the column "
            "points: take the rows of type bbox for boxes only."
        ]
