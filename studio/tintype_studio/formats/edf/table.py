"""Reading and writing the table: Arrow IPC, or Parquet by the file's name.

Whatever a file holds is checked before it is used: what it claims (``claims``), the types of the columns
that are known, lengths of boxes and sizes. Columns of the type that we write are taken as they are;
narrower or wider ones of the same sense are cast, where no value is lost. Other columns are skipped.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.formats.edf.arrays import of_list, present, rings_of, values_of
from tintype_studio.formats.edf.claims import MAX_BYTES, MAX_ROWS, check_claims
from tintype_studio.formats.edf.parquet import unpacked
from tintype_studio.formats.edf.rows import FIELDS, EdfRow
from tintype_studio.formats.edf.schema import COLUMNS, Column, FileFacts, arrow_type, facts_of
from tintype_studio.names import printable

if TYPE_CHECKING:
    from arro3.core import Array, DataType, Table

    from tintype_studio.formats.edf.arrays import Rings

Stored: TypeAlias = Path | IO[bytes]


class EdfTable:
    """A table that was checked. ``facts`` is what the file says of itself, ``rows`` how many there are.

    Whatever takes Arrow takes it without a copy: ``polars.DataFrame(table)``, ``pyarrow.table(table)``.
    """

    def __init__(self, columns: Mapping[str, Array], facts: FileFacts, rows: int) -> None:
        self._columns = dict(columns)
        self.facts = facts
        self.rows = rows

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The columns that are known, in Arrow's C interface."""
        from arro3.core import Field, Schema, Table

        schema = Schema(
            [Field(name, array.type, nullable=True) for name, array in self._columns.items()],
            metadata=dict(self.facts.told),
        )
        table = Table.from_arrays(list(self._columns.values()), schema=schema)
        return table.__arrow_c_stream__(requested_schema)

    def __contains__(self, column: str) -> bool:
        return column in self._columns

    @property
    def names(self) -> list[str]:
        """The columns that are there and known."""
        return list(self._columns)

    def column(self, name: str) -> Array | None:
        """A whole column in the type of ``schema.arrow_type``; None if the file has none."""
        return self._columns.get(name)

    def values(self, name: str) -> list[Any]:
        """A whole column as Python's values; None everywhere if the file has none."""
        found = self._columns.get(name)
        return [None] * self.rows if found is None else list(found.to_pylist())

    def read(self, rows: Sequence[int]) -> list[EdfRow]:
        """Some rows, by their numbers, in that order."""
        import numpy as np
        from arro3.core import Array

        chosen = Array.from_numpy(np.asarray(rows, dtype=np.uint64))
        got = {name: array.take(chosen).to_pylist() for name, array in self._columns.items()}
        found = [EdfRow(name) for name in got.pop("name")]
        for name, values in got.items():
            for row, value in zip(found, values, strict=True):
                if value is not None:
                    setattr(row, name, value)
        for row in found:
            if row.pose is not None and not self.facts.roll_first:
                row.pose = list(reversed(row.pose))
        return found


def read_table(file: Stored, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> EdfTable:
    """The table of an Arrow IPC or Parquet file, whole.

    Raises:
        InvalidInput: it is neither, is damaged or cut off (``broken_file``), has no column ``name``, or one
            that is known has another type or values that cannot be (``wrong_column``).
        TooLarge: more rows or bytes than are taken.
    """
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return read_table(stream, max_rows=max_rows, max_bytes=max_bytes)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) == b"PAR1":
        with unpacked(file, size, max_bytes) as arrow:
            return read_table(arrow, max_rows=max_rows, max_bytes=max_bytes)
    check_claims(file, size, max_rows=max_rows, max_bytes=max_bytes)
    file.seek(0)
    table = _guarded(lambda: _all(file))
    metadata = {str(key): str(value) for key, value in table.schema.metadata_str.items()}
    facts = facts_of(metadata)
    return EdfTable(_checked_columns(table, facts), facts, table.num_rows)


def _all(file: IO[bytes]) -> Table:
    from arro3.io import read_ipc

    return read_ipc(file).read_all()


def _guarded(work: Any) -> Any:
    """What ``work`` returns; a refusal of ours where the library refuses, or panics."""
    try:
        return work()
    except (InvalidInput, TooLarge, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # The library is written in Rust: where it gives up on itself, that is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InvalidInput(
            "The file cannot be read: it is damaged, or no Arrow or Parquet file.",
            code="broken_file",
            fix="Check that it was copied whole, or write it again.",
        ) from None


def _checked_columns(table: Table, facts: FileFacts) -> dict[str, Array]:
    names = table.column_names
    if "name" not in names:
        raise wrong("name", "there is none; it says which sample a row belongs to")
    twice = next((name for name in COLUMNS if names.count(name) > 1), None)
    if twice is not None:
        raise wrong(twice, "there are several of this name")
    found: dict[str, Array] = {}
    for name, column in COLUMNS.items():
        if name not in names or (name == "polygon" and not facts.has_polygons):
            continue
        array = _guarded(lambda name=name: table.column(name).combine_chunks())
        if not len(array) and table.num_rows:
            raise wrong(name, "it has no values")
        legacy = name == "mask" and not facts.has_polygons
        if _is(array.type, "null") or array.null_count == table.num_rows > 0:
            if name == "name":
                raise wrong(name, "a sample has no name")
            continue
        if legacy:
            found["polygon"] = _rings_of_legacy(_cast(name, array, arrow_type(column, legacy_mask=True)))
        else:
            found[name] = _checked_column(column, array)
    return found


def _checked_column(column: Column, array: Array) -> Array:
    wanted = arrow_type(column)
    if array.type != wanted and not _fits(column, array.type):
        raise wrong(column.name, f"its type is {printable(_type_name(array.type))[:80]}, not {_told(column)}")
    found = _guarded(lambda: _same_lengths(column, array))
    found = _cast(column.name, found, wanted)
    if column.name == "name" and found.null_count:
        raise wrong("name", "a row has none")
    if column.kind in {"rings", "numbers", "u32s", "indices"} and _gaps(found):
        raise wrong(column.name, "there is nothing where a number should be")
    if column.kind == "rings":
        _check_rings(rings_of(found))
    return found


def _gaps(array: Array) -> bool:
    """Whether a list that is there holds something that is not."""
    from arro3.core import Array, list_flatten

    there = present(array)
    if there is not None:
        import numpy as np

        array = array.take(Array.from_numpy(np.flatnonzero(there).astype(np.uint64)))
    values = list_flatten(array)
    if values.null_count:
        return True
    return _is(values.type, "list", "large_list") and bool(list_flatten(values).null_count)


def _cast(name: str, array: Array, wanted: DataType) -> Array:
    """The array in another type. What does not fit would become nothing there, and is refused."""
    if array.type == wanted:
        return array
    try:
        found: Array = _guarded(lambda: array.cast(wanted))
    except InvalidInput:
        raise wrong(name, f"its type is {printable(_type_name(array.type))[:80]}") from None
    if _missing(found) != _missing(array):
        raise wrong(name, "it holds a number that is negative or too large")
    return found


def _missing(array: Array) -> int:
    """How many values are not there, those of lists included."""
    from arro3.core import list_flatten

    found = int(array.null_count)
    if _is(array.type, "list", "large_list", "fixed_size_list"):
        found += _missing(list_flatten(array))
    return found


def _fits(column: Column, kind: DataType) -> bool:
    """Whether a type can mean what the column is of."""
    match column.kind:
        case "text" | "category":
            value = kind.value_type if _is(kind, "dictionary") else kind
            return value is not None and (_is(value, "string", "large_string", "string_view"))
        case "u32" | "u64":
            return _is(kind, "integer")
        case "f32" | "f64":
            return _is(kind, "floating") or _is(kind, "integer")
        case "bool":
            return _is(kind, "boolean") or _is(kind, "integer")  # 2025.10 had a number
        case "png":
            return _is(kind, "binary", "large_binary", "binary_view")
        case "rings":
            inner = kind.value_type if _is(kind, "list", "large_list") else None
            return (
                inner is not None
                and _is(inner, "list", "large_list")
                and inner.value_type is not None
                and _is(inner.value_type, "floating")
            )
        case "numbers" | "u32s" | "indices":
            value = kind.value_type if _is(kind, "list", "large_list", "fixed_size_list") else None
            return value is not None and _is(value, "floating" if column.kind == "numbers" else "integer")
        case "timing":
            return _is(kind, "struct")


def _is(kind: DataType, *names: str) -> bool:
    from arro3.core import DataType

    return any(getattr(DataType, f"is_{name}")(kind) for name in names)


def _same_lengths(column: Column, array: Array) -> Array:
    """Lists of ``length`` numbers each as fixed lists; lists of fixed lists of another length are refused."""
    import numpy as np
    from arro3.core import list_flatten, list_offsets

    from tintype_studio.formats.edf.arrays import of_table

    if column.kind not in {"numbers", "u32s"}:
        return array
    if _is(array.type, "fixed_size_list"):
        if array.type.list_size != column.length:
            raise wrong(column.name, f"it has {array.type.list_size} numbers each, not {column.length}")
        return array
    there = present(array)
    lengths = np.diff(list_offsets(array).to_numpy())
    wanted = np.full(len(lengths), column.length) if there is None else np.where(there, column.length, 0)
    if (lengths != wanted).any():
        raise wrong(column.name, f"a row has another count of numbers than {column.length}")
    number = np.float32 if column.kind == "numbers" else np.uint32
    filled = np.zeros((len(lengths), column.length), dtype=number)
    flat = values_of(list_flatten(array), float("nan") if column.kind == "numbers" else 0)
    if column.kind == "u32s" and len(flat) and not 0 <= flat.min() <= flat.max() < 2**32:
        raise wrong(column.name, "it holds a number that is negative or too large")
    filled[slice(None) if there is None else there] = flat.reshape(-1, column.length)
    return of_table(column, filled, None if there is None else ~there)


def _check_rings(rings: Rings) -> None:
    import numpy as np

    if (np.diff(rings.inner) % 2).any():
        raise wrong("polygon", "a ring has an odd count of numbers; they are x, y, x, y, …")


def _rings_of_legacy(array: Array) -> Array:
    """Outlines of 2025: one list of numbers, rings parted by NaN."""
    rows: list[list[list[float]] | None] = []
    for told in array.to_pylist():
        if told is None:
            rows.append(None)
            continue
        rings: list[list[float]] = [[]]
        for number in told:
            if number is None or math.isnan(number):
                rings.append([])
            else:
                rings[-1].append(number)
        if any(len(ring) % 2 for ring in rings):
            raise wrong("mask", "a ring has an odd count of numbers; they are x, y, x, y, …")
        rows.append([ring for ring in rings if ring])
    return of_list(COLUMNS["polygon"], rows)


def _type_name(kind: DataType) -> str:
    return repr(kind).replace("arro3.core.DataType<", "").strip().rstrip(">")


def _told(column: Column) -> str:
    return {
        "text": "text",
        "category": "text or categories",
        "u32": "whole numbers",
        "u64": "whole numbers",
        "f32": "numbers",
        "f64": "numbers",
        "bool": "true or false",
        "png": "binary (a PNG)",
        "rings": "lists of lists of float32",
        "numbers": f"fixed lists of {column.length} float32",
        "u32s": f"fixed lists of {column.length} uint32",
        "indices": "lists of uint32",
        "timing": "a struct of int64",
    }[column.kind]


def wrong(column: str, why: str) -> InvalidInput:
    """The refusal of a table for one of its columns."""
    return InvalidInput(
        f"The column {column!r} cannot be read: {why}.",
        code="wrong_column",
        fix="Write the column as docs/edgefirst-format.md says, or leave it out.",
        details={"column": column},
    )


def arrays_of(rows: Sequence[EdfRow], columns: Iterable[str] = FIELDS) -> dict[str, Array]:
    """The arrays of some columns of rows, all of them unless they are named."""
    return {name: of_list(COLUMNS[name], [getattr(row, name) for row in rows]) for name in columns}


def write_table(
    file: Stored,
    batches: Iterator[Mapping[str, Array]] | Sequence[Mapping[str, Array]],
    metadata: Mapping[str, str],
    *,
    parquet: bool = False,
) -> None:
    """Write a table, batch by batch; all have the columns of the first one.

    A category's list of names must be the same in all batches of an Arrow file.
    """
    from arro3.core import Field, RecordBatch, RecordBatchReader, Schema
    from arro3.io import write_ipc, write_parquet

    steps = iter(batches)
    first = next(steps)
    schema = Schema(
        [Field(name, array.type, nullable=True) for name, array in first.items()], metadata=dict(metadata)
    )

    def made() -> Iterator[RecordBatch]:
        yield RecordBatch.from_arrays(list(first.values()), schema=schema)
        for arrays in steps:
            yield RecordBatch.from_arrays([arrays[name] for name in first], schema=schema)

    reader = RecordBatchReader.from_batches(schema, made())
    if parquet:
        write_parquet(reader, file, compression="zstd(3)", key_value_metadata=dict(metadata))
    else:
        write_ipc(reader, file)
