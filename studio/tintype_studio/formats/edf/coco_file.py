"""A COCO file as columns, without one object per number.

A file is mostly numbers of outlines. Parsed as a whole, each becomes an object that waits in memory for
its turn, which takes most of the time; so the list of annotations is cut where one ends and the next
begins, parsed piece by piece and turned into arrays while it is in the processor's cache. A piece that is
no list of objects, after a cut inside of a text above all, is not valid JSON; the file is parsed as a
whole then.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from tintype_studio.formats.reading.base import broken, parse_json
from tintype_studio.names import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PIECE = 1 << 17
"""Bytes of JSON that are parsed together."""

KNOWN = frozenset(
    (
        "id",
        "image_id",
        "category_id",
        "segmentation",
        "area",
        "bbox",
        "iscrowd",
        "score",
        "category_frequency",
    )
)
"""Members of an annotation that become columns."""

_KEY = b'"annotations"'
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_END = re.compile(rb"\}\s*\]")


@dataclass(slots=True)
class CocoColumns:
    """The annotations of a file. Outlines of all rows stand one after the other: ``rings`` has the count
    of rings of each row, ``lengths`` that of numbers of each ring, ``values`` the numbers (x, y, x, y, …;
    pixels).

    ``boxes`` is ``(n, 4)`` and NaN where a box is missing. ``masks`` has run-length codes by row, ``bare``
    the rows that tell no outline, not even an empty one, ``further`` the members that have no column, and
    outlines that are none.
    """

    ids: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    areas: list[float | None] = field(default_factory=list)
    crowds: list[int | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    rings: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    numbers: list[npt.NDArray[np.float64]] = field(default_factory=list)
    sides: list[npt.NDArray[np.float64]] = field(default_factory=list)
    masks: dict[int, dict[str, Any]] = field(default_factory=dict)
    bare: list[int] = field(default_factory=list)
    further: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """All numbers of outlines."""
        import numpy as np

        return np.concatenate(self.numbers) if self.numbers else np.empty(0)

    @property
    def boxes(self) -> npt.NDArray[np.float64]:
        """All boxes: x, y, width, height."""
        import numpy as np

        return np.concatenate(self.sides) if self.sides else np.empty((0, 4))


@dataclass(slots=True)
class CocoFile:
    """What a file says. ``head`` is everything but images, annotations and categories."""

    path: str
    head: dict[str, Any]
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    columns: CocoColumns


def read_coco(data: bytes, path: str) -> CocoFile:
    """The file at ``path`` (which errors name), of its bytes.

    Raises:
        InvalidInput: it is no JSON, no COCO file of objects, or an entry has no sense (``broken_file``).
    """
    found = _in_pieces(data, path)
    if found is None:
        document = parse_json(data, path)
        if not isinstance(document, dict):
            raise broken(path, "it is no COCO file: not an object")
        entries = _entries(document.pop("annotations", []), "annotations", path)
        columns = CocoColumns()
        for at in range(0, len(entries), 1000):
            _take(columns, entries[at : at + 1000], path)
        found = document, columns
    document, columns = found
    if "segments_info" in next(iter(columns.further.values()), ()):
        raise broken(path, "it holds panoptic segments, not instances")
    images = _entries(document.pop("images", None), "images", path)
    categories = _entries(document.pop("categories", []), "categories", path)
    return CocoFile(path, document, images, categories, columns)


def _in_pieces(data: bytes, path: str) -> tuple[dict[str, Any], CocoColumns] | None:
    """The rest of the document and its annotations; None if it cannot be cut with certainty."""
    key = data.find(_KEY)
    if key < 0 or data.find(_KEY, key + 1) >= 0:
        return None
    start = data.find(b"[", key)
    if start < 0 or data[key + len(_KEY) : start].strip() != b":":
        return None
    end = data.find(b"}]", start) + 1
    if not end:
        found = _END.search(data, start)
        if found is None:
            return None
        end = found.start() + 1
    columns = CocoColumns()
    try:
        # What is left must be a document with an empty list: then it was this list that was taken out.
        document = orjson.loads(b"".join((data[: start + 1].removeprefix(b"\xef\xbb\xbf"), data[end:])))
        if not isinstance(document, dict) or document.pop("annotations", None) != []:
            return None
        for piece in _pieces(data, start + 1, end):
            entries = orjson.loads(piece)
            if not all(type(entry) is dict for entry in entries):
                return None
            _take(columns, entries, path)
    except orjson.JSONDecodeError:
        return None
    return document, columns


def _pieces(data: bytes, start: int, end: int) -> Iterator[bytes]:
    view = memoryview(data)
    while start < end:
        cut = _BETWEEN.search(data, start + PIECE, end) if start + PIECE < end else None
        stop = end if cut is None else cut.start() + 1
        yield b"".join((b"[", view[start:stop], b"]"))
        start = end if cut is None else cut.end() - 1


def _take(columns: CocoColumns, entries: Sequence[dict[str, Any]], path: str) -> None:
    """Add annotations to the columns."""
    import numpy as np

    first = len(columns.ids)
    outlines: list[Any] = [entry.get("segmentation") for entry in entries]
    if set(map(type, outlines)) != {list}:
        _set_apart(columns, entries, outlines, first, path)
    rings = list(chain.from_iterable(outlines))
    lengths = list(map(len, rings)) if set(map(type, rings)) <= {list} else _refuse(entries, path)
    if lengths and (min(lengths) < 6 or any(length % 2 for length in lengths)):
        for number, rings_of in enumerate(outlines):
            if any(len(ring) < 6 or len(ring) % 2 for ring in rings_of):
                columns.further[first + number] = {"segmentation": rings_of}
                columns.bare.append(first + number)
                outlines[number] = []
        rings = list(chain.from_iterable(outlines))
        lengths = list(map(len, rings))
    try:
        columns.numbers.append(np.frombuffer(array("d", list(chain.from_iterable(rings)))))
    except TypeError:
        _refuse(entries, path)
    columns.rings.extend(map(len, outlines))
    columns.lengths.extend(lengths)
    columns.ids.extend([entry.get("id") for entry in entries])  # type: ignore[misc]
    columns.images.extend([entry.get("image_id") for entry in entries])  # type: ignore[misc]
    columns.categories.extend([entry.get("category_id") for entry in entries])  # type: ignore[misc]
    columns.areas.extend([entry.get("area") for entry in entries])
    columns.crowds.extend([entry.get("iscrowd") for entry in entries])
    columns.scores.extend([entry.get("score") for entry in entries])
    _take_boxes(columns, entries, path)
    for number, entry in enumerate(entries):
        if not entry.keys() <= KNOWN:
            more = {key: value for key, value in entry.items() if key not in KNOWN}
            columns.further.setdefault(first + number, {}).update(more)


def _set_apart(
    columns: CocoColumns,
    entries: Sequence[dict[str, Any]],
    outlines: list[Any],
    first: int,
    path: str,
) -> None:
    """Take masks, and what has no outline, out of the outlines."""
    for number, outline in enumerate(outlines):
        if isinstance(outline, dict):
            columns.masks[first + number] = outline
        elif outline is not None and not isinstance(outline, list):
            raise broken(path, f"annotation {_id(entries[number])}: its segmentation is no list and no mask")
        if not isinstance(outline, list):
            columns.bare.append(first + number)
            outlines[number] = []


def _take_boxes(columns: CocoColumns, entries: Sequence[dict[str, Any]], path: str) -> None:
    import numpy as np

    told = [entry.get("bbox") for entry in entries]
    for number, box in enumerate(told):
        if type(box) is not list or len(box) != 4:
            if box:
                raise broken(path, f"annotation {_id(entries[number])}: its bbox is no list of four numbers")
            told[number] = _NO_BOX
    try:
        flat = array("d", list(chain.from_iterable(told)))  # type: ignore[arg-type]
    except TypeError:
        number = next(
            n for n, box in enumerate(told) if not all(isinstance(v, int | float) for v in box or ())
        )
        raise broken(
            path, f"annotation {_id(entries[number])}: its bbox is no list of four numbers"
        ) from None
    columns.sides.append(np.frombuffer(flat).reshape(-1, 4))


_NO_BOX = [float("nan")] * 4


def _refuse(entries: Sequence[dict[str, Any]], path: str) -> Any:
    """Name the annotation whose outline is not made of lists of numbers."""
    for entry in entries:
        outline = entry.get("segmentation")
        if isinstance(outline, list) and not all(
            isinstance(ring, list) and all(isinstance(number, int | float) for number in ring)
            for ring in outline
        ):
            raise broken(path, f"annotation {_id(entry)}: a ring is no list of x, y, x, y, …")
    raise broken(path, "an annotation has an outline that cannot be read")


def whole_numbers(values: Sequence[Any], what: str, path: str) -> None:
    """Refuse a list in which something is no whole number of 63 bits."""
    if set(map(type, values)) <= {int} and (not values or (min(values) >= 0 and max(values) < 2**63)):
        return
    wrong = next(v for v in values if type(v) is not int or not 0 <= v < 2**63)
    raise broken(path, f"{what} {printable(str(wrong))[:40]} is no whole number that is not negative")


def _entries(value: Any, key: str, path: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise broken(path, f"{key!r} is no list of objects")
    return value


def _id(entry: dict[str, Any]) -> str:
    return printable(str(entry.get("id")))[:40]
