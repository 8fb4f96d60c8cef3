"""Rows as annotations, in the form in which they are kept.

What leads is the first of outline, line, point, mask, box and 3-D box; a row with only a label is a tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import InvalidInput
from tintype_studio.formats.edf.facts import SCORE_OF, attributes_of, of_json
from tintype_studio.formats.edf.rows import BOX3D, UNLABELED, Document, EdfRow
from tintype_studio.formats.edf.shares import shortest
from tintype_studio.formats.reading.converted import (
    MAX_COORDINATE,
    MAX_ID,
    MAX_POINTS,
    MAX_RINGS,
    Converted,
    invalid,
)
from tintype_studio.names import printable

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Mask
    from tintype_studio.formats.edf.shares import Pixels


def documents_of(rows: Sequence[EdfRow], width: int | None, height: int | None) -> Converted:
    """The annotations that the rows of one sample say.

    In pixels of a picture of ``width`` x ``height``; of one of 1 x 1 where its size is not known.

    Raises:
        InvalidInput: a row says what cannot be: an outline of an odd count of numbers, a damaged mask, a box
            that is no number, …
    """
    converted = Converted(width, height)
    said = [row for row in rows if row.says_annotation]
    places = _Places(said, (width or 1, height or 1))
    for number, row in enumerate(said):
        _add(converted, row, places, number, (width, height))
    return converted


def _add(
    converted: Converted,
    row: EdfRow,
    places: _Places,
    number: int,
    size: tuple[int | None, int | None],
) -> None:
    told = of_json(row.x_annotation)
    rings = places.rings(number, told)
    box = places.box(number, told)
    mask = None if row.mask is None else mask_of_row(row.mask, size)
    line, point = told.get("polyline"), told.get("keypoint")
    kind, lost = _kind(row, rings, line, point, mask, box)
    if lost:
        converted.notice("thin")
    if kind is None:
        return
    document: Document = {
        "id": converted.own_id(told.get("id") or row.object_id),
        "name": UNLABELED if row.label is None else converted.label(row.label),
        "confidence": _confidence(row, kind, told),
    }
    if isinstance(creator := told.get("created_by"), str):
        document["created_by"] = creator
    document["attributes"] = attributes_of(row, kind, told)
    if row.object_id:
        if len(row.object_id) > MAX_ID:
            raise invalid(f"{_shown(row)}: an object_id has more than {MAX_ID} characters.")
        document["object_id"] = row.object_id
    if row.box3d is not None:
        document["box3d"] = _box3d(row.box3d, told)
    if mask is not None:
        document["mask"] = {"size": list(mask.size), "counts": mask.counts}
    document["type"] = kind
    _place(document, kind, rings, line, point)
    bounds = _bounds(document, kind, rings, box, mask)
    if kind in {"polygon", "polyline", "mask", "bbox"} and bounds is not None:
        document["bounding_box"] = dict(zip("xywh", bounds, strict=True))
    if kind in {"polyline", "keypoint"}:
        document = _checked(document)
    if bounds is None:
        converted.unplaced(document)
    else:
        x, y, w, h = bounds
        converted.document(document, (x, y, x + w, y + h))


def _kind(
    row: EdfRow, rings: list[list[float]], line: Any, point: Any, mask: Mask | None, box: Any
) -> tuple[str | None, bool]:
    """What leads, and whether something that the row says has no extent and is lost."""
    lost = (row.polygon is not None and not rings) or (row.box2d is not None and box is None)
    lost = lost or (row.mask is not None and mask is None)
    for kind, there in (
        ("polygon", bool(rings)),
        ("polyline", line is not None),
        ("keypoint", point is not None),
        ("mask", mask is not None),
        ("bbox", box is not None),
        ("box3d", row.box3d is not None),
    ):
        if there:
            return kind, False
    return (None if lost else "tag"), lost


def _place(document: Document, kind: str, rings: list[list[float]], line: Any, point: Any) -> None:
    if kind == "polygon":
        document["polygon"] = {
            "paths": [
                [{"x": x, "y": y} for x, y in zip(ring[::2], ring[1::2], strict=True)] for ring in rings
            ]
        }
    elif kind == "polyline":
        document["polyline"] = line
    elif kind == "keypoint":
        document["keypoint"] = point


def _bounds(
    document: Document, kind: str, rings: list[list[float]], box: Any, mask: Mask | None
) -> tuple[float, float, float, float] | None:
    if box is not None:
        return tuple(box)
    if kind == "polygon":
        xs, ys = [x for ring in rings for x in ring[::2]], [y for ring in rings for y in ring[1::2]]
        left, top = min(xs), min(ys)
        across, down = max(xs) - left, max(ys) - top
        return (left, top, across, down) if across > 0 and down > 0 else None
    if mask is not None and kind == "mask":
        from tintype_studio.annotations.masks import box_of

        found = box_of(mask)
        return found.x, found.y, found.w, found.h
    return None


def _checked(document: Document) -> Document:
    """A document with parts of the JSON, which may say anything."""
    from pydantic import ValidationError

    from tintype_studio.annotations.geometry import ANNOTATIONS

    try:
        (model,) = ANNOTATIONS.validate_python([document])
    except ValidationError:
        raise InvalidInput(
            "A value of the column x_annotation is no annotation.",
            code="broken_file",
            fix="Leave this column out, or export the dataset again.",
        ) from None
    found: Document = model.model_dump(mode="json", exclude_none=True)
    return found


def _confidence(row: EdfRow, kind: str, told: dict[str, Any]) -> float:
    column = SCORE_OF.get(kind)
    value = None if column is None else getattr(row, column)
    exact = told.get("confidence")
    if isinstance(exact, int | float) and 0 <= exact <= 1:
        from tintype_studio.formats.edf.shares import single

        if column is None or single(float(exact)) == value:
            return float(exact)
    if value is None:
        return 1.0
    if not 0 <= value <= 1:
        raise invalid(f"{_shown(row)}: the score {value:g} is not between 0 and 1.")
    return shortest(value)


def _box3d(values: Sequence[float], told: dict[str, Any]) -> dict[str, float]:
    from tintype_studio.formats.edf.shares import single

    exact = told.get("box3d")
    found = [shortest(value) for value in values]
    if isinstance(exact, list) and [single(float(value)) for value in exact] == [*values]:
        found = [float(value) for value in exact]
    if any(not abs(value) <= MAX_COORDINATE for value in found) or min(found[3:]) <= 0:
        raise invalid("A 3-D box has a coordinate that is no number, or an extent that is not above 0.")
    return dict(zip(BOX3D, found, strict=True))


def mask_of_row(data: bytes, size: tuple[int | None, int | None]) -> Mask | None:
    """The mask of the whole picture: a tile with an offset is put in its place, another size is scaled."""
    import numpy as np

    from tintype_studio.annotations.masks import array_of, mask_of_array, mask_of_png

    width, height = size
    if not width or not height:
        return mask_of_png(data)
    if b"oFFs" in data[: data.find(b"IDAT")]:
        return mask_of_png(data, (height, width))
    mask = mask_of_png(data)
    if mask is None or mask.size == [height, width]:
        return mask
    down, across = mask.size
    rows = (np.arange(height) * down) // height
    columns = (np.arange(width) * across) // width
    return mask_of_array(np.ascontiguousarray(array_of(mask)[rows][:, columns]))


class _Places:
    """Outlines and boxes of many rows in pixels, all at once."""

    def __init__(self, rows: Sequence[EdfRow], size: tuple[int, int]) -> None:
        import numpy as np

        from tintype_studio.formats.edf.shares import boxes, pixels

        self._rows = rows
        self._extents = np.array(size, dtype=np.float64)
        for row in rows:
            if any(len(ring) % 2 for ring in row.polygon or ()):
                raise invalid(f"{_shown(row)}: a ring of the polygon has an odd count of numbers.")
            if len(row.polygon or ()) > MAX_RINGS or any(
                len(ring) > 2 * MAX_POINTS for ring in row.polygon or ()
            ):
                raise invalid(f"{_shown(row)}: the polygon has too many rings or points.")
        kept = [[ring for ring in row.polygon or () if len(ring) >= 6] for row in rows]
        flat = [number for rings in kept for ring in rings for number in ring]
        points = np.array(flat, dtype=np.float32).reshape(-1, 2)
        self._found = pixels(points, self._extents).reshape(-1)
        self._lengths = [[len(ring) for ring in rings] for rings in kept]
        self._starts = np.concatenate([[0], np.cumsum([sum(each) for each in self._lengths])]).astype(int)
        told = [row.box2d if row.box2d is not None else (0, 0, 0, 0) for row in rows]
        centred = np.array(told, dtype=np.float32).reshape(-1, 4)
        if not np.isfinite(centred).all():
            raise invalid(f"box2d of {_shown(rows[0])} or a row after it: infinite, NaN or too large.")
        self._boxes: Pixels = boxes(centred, np.broadcast_to(self._extents, (len(rows), 2)))
        for numbers, what in ((self._found, "polygon"), (self._boxes, "box2d")):
            if not bool((np.abs(numbers) <= MAX_COORDINATE).all()):
                raise invalid(f"{what} of {_shown(rows[0])} or a row after it: infinite, NaN or too large.")

    def rings(self, number: int, told: dict[str, Any]) -> list[list[float]]:
        """The rings of a row that have three points, in pixels."""
        at, found = int(self._starts[number]), []
        for length in self._lengths[number]:
            found.append(self._found[at : at + length].tolist())
            at += length
        exact = told.get("polygon")
        return exact if exact is not None and self._agrees(exact, number) else found

    def _agrees(self, exact: Any, number: int) -> bool:
        """Whether the numbers that the JSON tells have the shares of the row."""
        import numpy as np

        from tintype_studio.formats.edf.shares import shares

        try:
            if [len(ring) for ring in exact] != self._lengths[number]:
                return False
            points = np.array([n for ring in exact for n in ring], dtype=np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            return False
        rings = [ring for ring in self._rows[number].polygon or () if len(ring) >= 6]
        held = np.array([n for ring in rings for n in ring], dtype=np.float32).reshape(-1, 2)
        return bool((shares(points, self._extents) == held).all())

    def box(self, number: int, told: dict[str, Any]) -> list[float] | None:
        """The box of a row in pixels; None if it has none, or none with an area."""
        import numpy as np

        from tintype_studio.formats.edf.shares import box_shares

        row = self._rows[number]
        if row.box2d is None:
            return None
        found: list[float] = self._boxes[number].tolist()
        w, h = found[2:]
        if w < 0 or h < 0:
            raise invalid(f"{_shown(row)}: the box has a negative size.")
        if w == 0 or h == 0:
            return None
        exact = told.get("bounding_box")
        if isinstance(exact, list) and len(exact) == 4:
            try:
                held = box_shares(np.array([exact], dtype=np.float64), self._extents[None])[0]
            except (TypeError, ValueError):
                return found
            if held.tolist() == list(row.box2d) and exact[2] > 0 and exact[3] > 0:
                return [float(value) for value in exact]
        return found


def _shown(row: EdfRow) -> str:
    frame = "" if row.frame is None else f", frame {row.frame}"
    return f"a row of {printable(row.name)[:80]!r}{frame}"
