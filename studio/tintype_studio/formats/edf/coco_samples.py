"""Samples of a table as images of a COCO file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.formats.edf.arrays import present, table_of, values_of
from tintype_studio.formats.edf.coco_lists import IMAGE_COLUMNS
from tintype_studio.formats.edf.facts import all_of_json
from tintype_studio.formats.edf.shares import shortest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.formats.edf.layout import Files
    from tintype_studio.formats.edf.table import EdfTable


class Samples:
    """The samples of some groups (none named: all). A sample is a name and a frame; ``rows`` are theirs,
    ``owner`` tells the number of each row's sample and ``sizes`` its width and height (0 where unknown).
    """

    def __init__(self, table: EdfTable, groups: Sequence[str], files: Files | None) -> None:
        import numpy as np

        self._table = table
        self._files = files
        self.owner, self._at = grouped(table)
        self._count = len(self._at)
        self._group = self._first("group")
        wanted = frozenset(groups)
        kept = np.array([not wanted or group in wanted for group in self._group], dtype=np.bool_)
        self.rows: npt.NDArray[np.int64] = np.flatnonzero(kept[self.owner])
        self._told = all_of_json(self._first("x_image"))
        order = np.flatnonzero(kept).tolist()
        places = [self._told[number].get("at") for number in order]
        if all(type(place) is int for place in places):
            order = [number for _, number in sorted(zip(places, order, strict=True))]
        self._order = order
        self.image_ids = np.zeros(self._count, dtype=np.int64)
        self.image_ids[order] = self._numbered(order)
        self._size_of = self._sizes()
        self.sizes = self._size_of[self.owner]

    def __len__(self) -> int:
        return len(self._order)

    def _first(self, name: str) -> list[Any]:
        """Of each sample the first value that its rows say."""
        import numpy as np
        from arro3.core import Array

        found: list[Any] = [None] * self._count
        column = self._table.column(name)
        if column is None:
            return found
        there = present(column)
        rows = self._at
        if there is not None:
            said = np.flatnonzero(there)
            rows = np.full(self._count, -1, dtype=np.int64)
            rows[self.owner[said[::-1]]] = said[::-1]
        samples = np.flatnonzero(rows >= 0)
        values = column.take(Array.from_numpy(rows[samples].astype(np.uint64))).to_pylist()
        for sample, value in zip(samples.tolist(), values, strict=True):
            found[sample] = value
        return found

    def _numbered(self, order: Sequence[int]) -> list[int]:
        """Ids of samples: those that the table tells, as long as they are different."""
        told = [self._told[number].get("coco") for number in order]
        ids = [entry.get("id") if isinstance(entry, dict) else None for entry in told]
        if all(type(id) is int and 0 <= id < 2**63 for id in ids) and len(set(ids)) == len(ids):
            return ids  # type: ignore[return-value]
        return list(range(1, len(order) + 1))

    def _sizes(self) -> npt.NDArray[np.float64]:
        import numpy as np

        found = np.zeros((self._count, 2))
        column = self._table.column("size")
        if column is not None:
            there = present(column)
            rows = np.arange(self._table.rows) if there is None else np.flatnonzero(there)
            found[self.owner[rows[::-1]]] = table_of(column, 2)[rows[::-1]]
        return found

    def images(self) -> list[dict[str, Any]]:
        """The list of a COCO file."""
        table = self._table
        columns = {
            member: self._first(name)
            for member, name in IMAGE_COLUMNS.items()
            if name in table and name not in {"frame", "group"}
        }
        file_names, names, frames = self._first("x_file_name"), self._first("name"), self._first("frame")
        ids, sizes, found = self.image_ids.tolist(), self._size_of.astype(int).tolist(), []
        for number in self._order:
            name, frame = names[number], frames[number]
            told = self._told[number].get("coco")
            entry: dict[str, Any] = told if isinstance(told, dict) else {}
            entry["id"] = ids[number]
            entry["file_name"] = file_names[number] or self._file_name(name, frame)
            entry["width"], entry["height"] = sizes[number]
            if not entry["width"]:
                del entry["width"], entry["height"]
            if frame is not None:
                entry["sequence_name"], entry["frame_number"] = name, frame
            if self._group[number] is not None:
                entry["group_name"] = self._group[number]
            for member, values in columns.items():
                if values[number] is not None:
                    entry[member] = self._value(member, values[number])
            found.append(entry)
        return found

    def _value(self, member: str, value: Any) -> Any:
        if member not in {"location", "pose"}:
            return value
        numbers = [shortest(number) for number in value]
        return numbers if member == "location" or self._table.facts.roll_first else numbers[::-1]

    def _file_name(self, name: str, frame: int | None) -> str:
        found = None if self._files is None else self._files.picture(name, frame)
        if found is not None:
            return found
        return name if frame is None else f"{name}/{name}_{frame:03}"


def grouped(table: EdfTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The number of each row's sample, in the order in which they come first, and their first rows."""
    import numpy as np
    from arro3.core import dictionary_indices

    from tintype_studio.formats.edf.schema import COLUMNS, arrow_type

    name = table.column("name")
    if name is None or not table.rows:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    keys = dictionary_indices(name.cast(arrow_type(COLUMNS["label"]))).to_numpy().astype(np.int64) << 33
    frame = table.column("frame")
    if frame is None:
        owner = keys >> 33
        first = np.full(int(owner.max()) + 1, -1, dtype=np.int64)
        first[owner[::-1]] = np.arange(table.rows)[::-1]
        if (np.diff(first) > 0).all() and first[0] >= 0:  # numbered in the order in which they come
            return owner, first
    else:
        there = present(frame)
        frames = values_of(frame).astype(np.int64) + 1
        keys += frames if there is None else np.where(there, frames, 0)
    _, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[owner.reshape(-1)], first[order]
