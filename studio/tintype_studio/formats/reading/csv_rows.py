"""CSV: one row per annotation, as ``formats.csv_rows`` writes it or as a plain table of boxes.

    filename,width,height,class,xmin,ymin,xmax,ymax     and, of our own:
    type,points,confidence,attributes,split

The first line names the columns, in any order; ``image`` or ``path`` may stand for ``filename``, ``label``
for ``class``. Coordinates are pixels counted from 0. Without ``type`` every row is a box. A row with an empty
class is an image without annotations. The path in ``filename`` is the folder.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from tintype_studio.formats.base import SPLITS
from tintype_studio.formats.csv_rows import unguarded
from tintype_studio.formats.reading.base import ImportItem, Reader, broken, no_annotations
from tintype_studio.formats.reading.converted import MAX_ATTRIBUTES, Converted, invalid, number
from tintype_studio.formats.reading.lookup import Images, place, reference, split_in

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source

MAX_CSV_BYTES = 512 << 20
MAX_CELL = 32 << 20
NAMES = {
    "image": "filename",
    "path": "filename",
    "image_path": "filename",
    "file_name": "filename",
    "label": "class",
    "class_name": "class",
    "x_min": "xmin",
    "y_min": "ymin",
    "x_max": "xmax",
    "y_max": "ymax",
}
REQUIRED = ("filename", "class", "xmin", "ymin", "xmax", "ymax")
Row = dict[str, str]


def columns_of(line: str) -> list[str]:
    """The names of the columns of a table's first line, as ours."""
    cells = next(csv.reader([line.strip("\ufeff\r\n")]), [])
    found = [cell.strip().lower() for cell in cells]
    return [NAMES.get(name, name) if NAMES.get(name) not in found else name for name in found]


def is_table(line: str) -> bool:
    """Whether a first line names the columns that are needed."""
    return set(REQUIRED) <= set(columns_of(line))


class CsvReader(Reader):
    """Reads one or more tables."""

    format: ClassVar[str] = "csv"

    def __init__(self, source: Source, files: Sequence[str]) -> None:
        super().__init__(source)
        self._images = Images(source.paths)
        self._rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for path in sorted(files):
            for row in _rows(source.read(path, MAX_CSV_BYTES), path):
                self._rows[path, row["filename"]].append(row)

    def _items(self) -> Iterator[ImportItem]:
        listed: set[str] = set()
        self.counts["no_split"] = 0
        for (path, name), rows in self._rows.items():
            segments = reference(f"./{unguarded(name)}")
            if not segments:
                error = invalid("A row names no file.", code="no_file_name")
                yield ImportItem("/", f"{path} (no filename)", None, no_annotations, error=error)
                continue
            split = rows[0].get("split", split_in(path)) or None
            if split not in {*SPLITS, None}:
                self.counts["no_split"] += 1
                split = None
            found = self._images.find(segments, near=path, split=split)
            if found is not None:
                listed.add(found)
            folder, filename = place(segments)
            yield ImportItem(folder, filename, found, partial(_convert, rows), split, size=_size(rows[0]))
        self.counts["unlisted"] = len(set(self._images.paths) - listed)


def _rows(data: bytes, path: str) -> Iterator[Row]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise broken(path, "it is no text in UTF-8") from None
    csv.field_size_limit(max(MAX_CELL, csv.field_size_limit()))
    table = csv.reader(io.StringIO(text, newline=""))
    try:
        columns = [NAMES.get(c, c) for c in columns_of(text.partition("\n")[0])]
        next(table, None)
        if missing := [name for name in REQUIRED if name not in columns]:
            raise broken(path, f"the columns {', '.join(missing)} are missing")
        for cells in table:
            if cells:
                if len(cells) != len(columns):
                    raise broken(path, f"line {table.line_num} has {len(cells)} cells, not {len(columns)}")
                yield dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise broken(path, f"line {table.line_num}: {error}") from None


def _size(row: Row) -> tuple[int, int] | None:
    try:
        width, height = int(float(row.get("width") or 0)), int(float(row.get("height") or 0))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _convert(rows: list[Row], width: int, height: int) -> Converted:
    converted = Converted(width, height)
    for row in rows:
        if not row["class"]:
            continue
        name = converted.label(unguarded(row["class"]))
        more = {"confidence": row.get("confidence") or None, "attributes": _attributes(row)}
        kind, points = row.get("type") or "bbox", _points(row)
        try:
            match kind:
                case "bbox":
                    left, top = number(row["xmin"], "xmin"), number(row["ymin"], "ymin")
                    right, bottom = number(row["xmax"], "xmax"), number(row["ymax"], "ymax")
                    converted.box(None, name, left, top, right - left, bottom - top, **more)
                case "polygon":
                    rings = [([x for x, _ in ring], [y for _, y in ring]) for ring in points]
                    converted.polygon(None, name, rings, **more)
                case "polyline":
                    converted.polyline(None, name, [x for x, _ in points], [y for _, y in points], **more)
                case "keypoint":
                    x, y = points
                    converted.keypoint(None, name, x, y, **more)
                case _:
                    converted.notice("others")
        except (TypeError, ValueError):
            raise invalid(f"The points of a {kind[:20]} are not those of one.") from None
    return converted


def _points(row: Row) -> Any:
    text = row.get("points")
    if not text:
        return []
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid("The points of a row are no JSON.") from None


def _attributes(row: Row) -> list[Any]:
    text = row.get("attributes")
    if not text:
        return []
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = [text]
    return found if isinstance(found, list) and len(found) <= MAX_ATTRIBUTES else [found]
