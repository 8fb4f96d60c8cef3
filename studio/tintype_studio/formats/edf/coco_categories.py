"""Categories and annotation ids of a COCO file, of the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.formats.edf.arrays import present, values_of
from tintype_studio.formats.edf.coco_lists import FACTS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.formats.edf.table import EdfTable

    Rows = npt.NDArray[np.int64]


class Categories:
    """Categories by label: those that the file lists, in its order, then those that only rows name."""

    def __init__(self, table: EdfTable) -> None:
        self._table = table
        self._facts = table.facts.categories
        self._names: dict[int, str] = {}
        for name, facts in self._facts.items():
            if type(facts.get("id")) is int and facts["id"] >= 0:
                self._names.setdefault(facts["id"], name)
        if not self._facts:
            self._names = dict(enumerate(table.facts.labels))
        self._frequency: dict[str, str] = {}

    def of_rows(self, rows: Rows) -> Rows:
        """The category id of each row; all have a label."""
        import numpy as np
        from arro3.core import Array, dictionary_dictionary, dictionary_indices

        label = self._table.column("label")
        if label is None or not len(rows):
            return np.empty(0, dtype=np.int64)
        chosen = Array.from_numpy(rows.astype(np.uint64))
        taken = label.take(chosen)
        names: list[str] = list(dictionary_dictionary(taken).to_pylist())
        codes = dictionary_indices(taken).to_numpy().astype(np.int64)
        told = self._indices(rows)
        low = np.full(len(names), np.iinfo(np.int64).max, dtype=np.int64)
        high = np.full(len(names), -1, dtype=np.int64)
        np.minimum.at(low, codes, told)
        np.maximum.at(high, codes, told)
        first = np.full(len(names), len(rows), dtype=np.int64)
        first[codes[::-1]] = np.arange(len(rows))[::-1]
        named = first < len(rows)
        if (low[named] == high[named]).all():  # as in most files, a label has one index
            ids = np.zeros(len(names), dtype=np.int64)
            for code in np.argsort(first)[: int(named.sum())].tolist():
                ids[code] = self._id(names[code], None if low[code] < 0 else int(low[code]))
            found: Rows = ids[codes]
        else:
            found = self._of_pairs(codes, told, names)
        self._note_frequencies(rows, codes, names)
        return found

    def _of_pairs(self, codes: Rows, told: Rows, names: Sequence[str]) -> Rows:
        """The category of each row where labels have several indices: there are as many as pairs of both."""
        import numpy as np

        indices, number = np.unique(told, return_inverse=True)
        pairs, first, owner = np.unique(
            number.reshape(-1) * len(names) + codes, return_index=True, return_inverse=True
        )
        ids = np.empty(len(pairs), dtype=np.int64)
        for at in np.argsort(first).tolist():
            place, code = divmod(int(pairs[at]), len(names))
            index = int(indices[place])
            ids[at] = self._id(names[code], None if index < 0 else index)
        found: Rows = ids[owner.reshape(-1)]
        return found

    def _indices(self, rows: Rows) -> Rows:
        """The index that each row tells, -1 where it tells none, or none that a COCO file can have."""
        import numpy as np

        column = self._table.column("label_index")
        if column is None:
            return np.full(len(rows), -1, dtype=np.int64)
        values = values_of(column)
        there = present(column)
        told = np.where(values < 2**63, values, 0).astype(np.int64)
        told[values >= 2**63] = -1
        if there is not None:
            told[~there] = -1
        found: Rows = told[rows]
        return found

    def _id(self, name: str, index: int | None) -> int:
        if index is not None and self._names.setdefault(index, name) == name:
            return index
        known = next((id for id, each in self._names.items() if each == name), None)
        if known is None:
            known = max(self._names, default=-1) + 1
            self._names[known] = name
        return known

    def _note_frequencies(self, rows: Rows, codes: Rows, names: Sequence[str]) -> None:
        import numpy as np

        if "category_frequency" not in self._table:
            return
        told = self._table.values("category_frequency")
        for code, at in zip(*np.unique(codes, return_index=True), strict=True):
            if (frequency := told[int(rows[at])]) is not None:
                self._frequency[names[int(code)]] = frequency

    def listed(self) -> list[dict[str, Any]]:
        """The list of a COCO file."""
        back = {ours: theirs for theirs, ours in FACTS.items()}
        found = []
        for id, name in self._names.items():
            facts = {back.get(key, key): value for key, value in self._facts.get(name, {}).items()}
            entry = {
                "id": id,
                "name": name,
                **{key: facts[key] for key in facts if key not in {"id", "name"}},
            }
            if name in self._frequency:
                entry.setdefault("frequency", self._frequency[name])
            found.append(entry)
        return found


def ids_of(table: EdfTable, rows: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """An id for each row: its ``object_id`` where that is a number that no row before it has. And which
    rows of the table have another ``object_id`` than that.
    """
    import numpy as np
    from arro3.core import Array, DataType, RecordBatch

    other = np.zeros(table.rows, dtype=np.bool_)
    column = table.column("object_id")
    if column is None:
        return np.arange(1, len(rows) + 1), other
    told = column.take(Array.from_numpy(rows.astype(np.uint64)))
    numbers = told.cast(DataType.int64())
    back = RecordBatch.from_pydict({"id": numbers.cast(DataType.utf8())})
    if not numbers.null_count and back.equals(RecordBatch.from_pydict({"id": told})):
        ids = numbers.to_numpy().copy()
        ordered = np.sort(ids)
        if not len(ids) or (ordered[0] >= 0 and (np.diff(ordered) > 0).all()):
            return ids, other
    texts = told.to_pylist()
    known = [int(text) if text is not None and _is_number(text) else -1 for text in texts]
    free, taken, ids = max(known, default=0), set(), np.empty(len(rows), dtype=np.int64)
    free = max(free, 0)
    for at, id in enumerate(known):
        own = id
        if own < 0 or own in taken:
            own = free = free + 1
            other[rows[at]] = texts[at] is not None
        taken.add(own)
        ids[at] = own
    return ids, other


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18 and str(int(text)) == text
