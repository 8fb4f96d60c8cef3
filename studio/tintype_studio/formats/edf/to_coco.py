"""The table to COCO.

What came from a COCO file comes out as it was (``from_coco``). Else an image is a sample and its frame;
its file's name is the one that the table tells, or that of a file beside it, or its name. Ids are those of
``object_id`` where these are numbers and no two are the same. An area is what the table tells, else that
of the outline, the mask or the box. Masks are written as compressed run lengths.

A row without a label is left out, as a COCO annotation needs a category.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from tintype_studio.formats.edf.arrays import present, rings_of, table_of, values_of
from tintype_studio.formats.edf.coco_categories import Categories, ids_of
from tintype_studio.formats.edf.coco_samples import Samples
from tintype_studio.formats.edf.coco_shapes import Shapes
from tintype_studio.formats.edf.facts import of_json
from tintype_studio.formats.edf.from_coco import EVEN_ODD, HEAD, INFO, LICENSES, RINGS
from tintype_studio.formats.edf.shares import boxes, shortest
from tintype_studio.formats.edf.table import EdfTable, read_table, wrong
from tintype_studio.formats.reading.base import undisturbed
from tintype_studio.formats.reading.converted import MAX_COORDINATE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.formats.edf.layout import Files

PIECE = 1500
"""Annotations that are written together."""

_OWN_COLUMNS = ("truncation", "occlusion", "exclude", "timing", "box3d")
_ONE_BY_ONE = (*_OWN_COLUMNS, "x_annotation")
_SCORES = ("mask_score", "polygon_score", "box2d_score", "box3d_score")


@dataclass(frozen=True, slots=True)
class WrittenCoco:
    """What was written; ``left_out`` are rows without a label."""

    images: int
    annotations: int
    categories: int
    left_out: int


def arrow_to_coco(
    source: Path,
    output: Path,
    *,
    include_masks: bool = True,
    groups: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
) -> WrittenCoco:
    """Write the COCO file of a table (Arrow IPC or Parquet) to ``output``.

    ``groups`` are those whose samples are wanted, all if there are none named. ``check`` may raise to stop.

    Raises:
        InvalidInput, TooLarge: as ``read_table``; or a sample of which something has a place has no size
            (``wrong_column``).
    """
    from tintype_studio.formats.edf.layout import Files

    table = read_table(source)
    with Files.beside(source) as files, output.open("wb") as stream:
        return write_coco(table, stream, include_masks=include_masks, groups=groups, files=files, check=check)


def write_coco(
    table: EdfTable,
    output: IO[bytes],
    *,
    include_masks: bool = True,
    groups: Sequence[str] = (),
    files: Files | None = None,
    check: Callable[[], None] = lambda: None,
) -> WrittenCoco:
    """The same of a table that was read; ``files`` (``layout.Files``) tell names of pictures."""
    with undisturbed():
        samples = Samples(table, groups, files)
        writer = _Writer(table, samples, include_masks)
        head = {
            "info": of_json(table.facts.told.get(INFO)),
            "licenses": _list(table.facts.told.get(LICENSES)),
            **of_json(table.facts.told.get(HEAD)),
        }
        output.write(orjson.dumps(head)[:-1] + b',"images":')
        output.write(orjson.dumps(samples.images()))
        output.write(b',"annotations":[')
        for number, piece in enumerate(writer.pieces()):
            check()
            if number:
                output.write(b",")
            output.write(memoryview(piece)[1:-1])  # without its brackets
        output.write(b'],"categories":' + orjson.dumps(writer.categories.listed()) + b"}")
    return WrittenCoco(len(samples), writer.written, len(writer.categories.listed()), writer.left_out)


def _list(text: str | None) -> list[Any]:
    try:
        found = orjson.loads(text) if text else []
    except ValueError:
        return []
    return found if isinstance(found, list) else []


class _Writer:
    """Annotations as JSON, piece by piece: what most of them have at once, the rest one by one."""

    def __init__(self, table: EdfTable, samples: Samples, include_masks: bool) -> None:
        import numpy as np

        self._table = table
        self._samples = samples
        self._include_masks = include_masks
        wanted = _there(table, "label")
        if "exclude" in table:
            wanted &= ~_flags(table, "exclude")
        chosen = samples.rows[wanted[samples.rows]]
        marked = np.zeros(table.rows, dtype=np.bool_)
        for name in ("label", "polygon", "mask", "box2d", "box3d"):
            marked |= _there(table, name)
        self.left_out = int(marked[samples.rows].sum()) - len(chosen)
        self.written = len(chosen)
        self._rows = chosen
        self.categories = Categories(table)
        self._category = self.categories.of_rows(chosen)
        self._ids, renamed = ids_of(table, chosen)
        self._images = samples.image_ids[samples.owner[chosen]]
        self._crowd = _flags(table, "ignore" if "ignore" in table else "iscrowd").astype(np.int64)
        polygon, box = table.column("polygon"), table.column("box2d")
        self._rings = None if polygon is None or not include_masks else rings_of(polygon)
        self._outlined = _there(table, "polygon")
        self._box_shares = np.zeros((table.rows, 4), dtype=np.float32) if box is None else table_of(box, 4)
        self._boxed = _there(table, "box2d")
        self._holes = table.facts.told.get(RINGS) == EVEN_ODD
        area = table.column("x_area")
        self._area = np.full(table.rows, np.nan) if area is None else values_of(area, float("nan"))
        self._special = renamed
        for name in (*_ONE_BY_ONE, *_SCORES):
            self._special |= _there(table, name)

    def pieces(self) -> Iterator[bytes]:
        """Lists of some annotations each, as JSON."""
        for at in range(0, len(self._rows), PIECE):
            entries = self._entries(at, min(at + PIECE, len(self._rows)))
            yield orjson.dumps(entries, option=orjson.OPT_SERIALIZE_NUMPY)

    def _entries(self, at: int, stop: int) -> list[dict[str, Any]]:
        import numpy as np

        rows = self._rows[at:stop]
        sizes = self._samples.sizes[rows]
        pngs = _chosen(self._table, "mask", rows) if self._include_masks else [None] * len(rows)
        shapes = Shapes(self._rings, rows, sizes, pngs, holes=self._holes)
        areas = self._area[rows]
        boxes_told, boxed = self._boxes(rows, sizes), self._boxed[rows]
        unmeasured = np.flatnonzero(~np.isfinite(areas)).tolist()
        found: list[dict[str, Any]] = [
            {
                "id": id,
                "image_id": image,
                "category_id": category,
                "segmentation": outline,
                "area": area,
                "bbox": box,
                "iscrowd": crowd,
            }
            for id, image, category, outline, area, box, crowd in zip(
                self._ids[at:stop].tolist(),
                self._images[at:stop].tolist(),
                self._category[at:stop].tolist(),
                shapes.outlines(),
                areas.tolist(),
                boxes_told.tolist(),
                self._crowd[rows].tolist(),
                strict=True,
            )
        ]
        for number in np.flatnonzero(~self._outlined[rows]).tolist():
            del found[number]["segmentation"]
        for number in np.flatnonzero(~boxed).tolist():
            box = shapes.bounds(number)
            if box is None:
                del found[number]["bbox"]
            else:
                found[number]["bbox"] = box
        if unmeasured:
            self._measure(found, unmeasured, shapes.areas())
        self._add_further(found, rows, shapes)
        return found

    @staticmethod
    def _measure(found: list[dict[str, Any]], numbers: Sequence[int], areas: list[float | None]) -> None:
        for number in numbers:
            area, box = areas[number], found[number].get("bbox")
            if area is None and box is not None:
                area = box[2] * box[3]
            if area is None:
                del found[number]["area"]
            else:
                found[number]["area"] = area

    def _add_further(self, found: list[dict[str, Any]], rows: npt.NDArray[np.int64], shapes: Shapes) -> None:
        """What only some annotations have: run lengths, a score, columns of ours and of the format."""
        import numpy as np

        numbers = np.flatnonzero(self._special[rows])
        told = {
            number: of_json(text)
            for number, text in zip(
                numbers.tolist(), _chosen(self._table, "x_annotation", rows[numbers]), strict=True
            )
        }
        listed = {number for number, each in told.items() if _coco(each).pop("counts", None) == "list"}
        for number in shapes.special:
            runs = shapes.segmentation(number, listed=number in listed)
            if runs is not None:
                if rings := found[number].get("segmentation"):
                    found[number]["polygon"] = rings
                found[number]["segmentation"] = runs
        if not told:
            return
        columns = {name: _chosen(self._table, name, rows[numbers]) for name in _ONE_BY_ONE}
        scores = [_chosen(self._table, name, rows[numbers]) for name in _SCORES if name in self._table]
        for at, number in enumerate(numbers.tolist()):
            entry, each = found[number], told[number]
            score = next((column[at] for column in scores if column[at] is not None), None)
            if score is not None:
                entry["score"] = shortest(score)
            for name in _OWN_COLUMNS:
                if columns[name][at] is not None:
                    entry[name] = _plain(columns[name][at])
            object_id = _chosen(self._table, "object_id", rows[[number]])[0]
            if object_id is not None and object_id != str(entry["id"]):
                entry["object_id"] = object_id
            coco = _coco(each)
            each.pop("coco", None)
            if each:
                entry["x_annotation"] = each
            for key, value in coco.items():
                entry.setdefault(key, value)

    def _boxes(self, rows: npt.NDArray[np.int64], sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        import numpy as np

        known = self._boxed[rows]
        shares: Any = self._box_shares[rows]
        if not sizes[known].all():
            raise wrong("size", "a sample with a box has no width and height, which pixels need")
        if not bool((np.abs(shares[known]) <= MAX_COORDINATE).all()):
            raise wrong("box2d", "a coordinate is infinite, NaN or too large")
        if known.all():
            return boxes(shares, sizes)
        return boxes(np.where(known[:, None], shares, 0), np.where(known[:, None], sizes, 1))


def _plain(value: Any) -> Any:
    """A value of a column as JSON has it."""
    if isinstance(value, list):
        return [shortest(number) for number in value]
    return value


def _coco(told: dict[str, Any]) -> dict[str, Any]:
    found = told.get("coco")
    return found if isinstance(found, dict) else {}


def _chosen(table: EdfTable, name: str, rows: npt.NDArray[np.int64]) -> list[Any]:
    """Values of some rows of a column; None for one that is not there."""
    import numpy as np
    from arro3.core import Array

    column = table.column(name)
    if column is None or not len(rows):
        return [None] * len(rows)
    return list(column.take(Array.from_numpy(rows.astype(np.uint64))).to_pylist())


def _there(table: EdfTable, name: str) -> npt.NDArray[np.bool_]:
    """In which rows a column says something."""
    import numpy as np

    column = table.column(name)
    if column is None:
        return np.zeros(table.rows, dtype=np.bool_)
    there = present(column)
    return np.ones(table.rows, dtype=np.bool_) if there is None else there


def _flags(table: EdfTable, name: str) -> npt.NDArray[np.bool_]:
    """In which rows a column says yes."""
    import numpy as np
    from arro3.core import DataType

    column = table.column(name)
    if column is None:
        return np.zeros(table.rows, dtype=np.bool_)
    found: npt.NDArray[np.bool_] = values_of(column.cast(DataType.uint32())) > 0
    return found
