"""Arrow arrays of what we hold, and numbers of Arrow arrays, without an object per value.

An array that comes in was checked by its reader (``table``), so its buffers are as long as they must be.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tintype_studio.formats.edf.schema import TIMINGS, Column, arrow_type

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from arro3.core import Array

    Numbers = npt.NDArray[np.number[Any]]
    Offsets = npt.NDArray[np.int64]
    Bits = npt.NDArray[np.bool_]


class Rings(NamedTuple):
    """Outlines of many rows. Row ``n`` has the rings ``outer[n]`` to ``outer[n + 1]``, ring ``m`` the numbers
    ``inner[m]`` to ``inner[m + 1]`` of ``values``: x, y, x, y, …
    """

    outer: Offsets
    inner: Offsets
    values: npt.NDArray[np.float32]


def of_list(column: Column, values: Sequence[Any]) -> Array:
    """The array of a column, of Python's values; None stands for nothing."""
    import numpy as np
    from arro3.core import Array, struct_array

    match column.kind:
        case "category":
            from arro3.core import DataType

            return Array(list(values), DataType.utf8()).cast(arrow_type(column))
        case "numbers" | "u32s":
            kind = np.float32 if column.kind == "numbers" else np.uint32
            absent = np.array([value is None for value in values], dtype=np.bool_)
            blank = (0,) * column.length
            filled = np.array([blank if value is None else value for value in values], dtype=kind)
            return of_table(column, filled.reshape(-1, column.length), absent)
        case "indices":
            lengths = [0 if value is None else len(value) for value in values]
            flat = [number for value in values if value is not None for number in value]
            return of_lists(
                column,
                np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
                np.array(flat, dtype=np.uint32),
                np.array([value is None for value in values], dtype=np.bool_),
            )
        case "rings":
            return of_rings(column, rings_of_lists(values), [value is None for value in values])
        case "timing":
            members = [
                Array([None if value is None else value.get(name) for value in values], field.type)
                for name, field in zip(TIMINGS, arrow_type(column).fields, strict=True)
            ]
            absent = np.array([value is None for value in values], dtype=np.bool_)
            return struct_array(members, fields=arrow_type(column).fields, mask=Array.from_numpy(absent))
    return Array(list(values), arrow_type(column))


def of_table(column: Column, values: Numbers, absent: Bits | None = None) -> Array:
    """An array of fixed lists, of ``(n, length)`` numbers."""
    import numpy as np
    from arro3.core import Array, fixed_size_list_array

    return fixed_size_list_array(
        Array.from_numpy(np.ascontiguousarray(values).reshape(-1)),
        column.length,
        type=arrow_type(column),
        mask=None if absent is None or not absent.any() else Array.from_numpy(absent),
    )


def of_lists(column: Column, offsets: Offsets, values: Numbers, absent: Bits | None = None) -> Array:
    """An array of lists of numbers."""
    from arro3.core import Array, list_array

    return list_array(
        Array.from_numpy(offsets),
        Array.from_numpy(values),
        type=arrow_type(column),
        mask=None if absent is None or not absent.any() else Array.from_numpy(absent),
    )


def of_rings(column: Column, rings: Rings, absent: Sequence[bool] | Bits) -> Array:
    """An array of outlines."""
    import numpy as np
    from arro3.core import Array, list_array

    kind = arrow_type(column)
    assert kind.value_type is not None
    inner = list_array(Array.from_numpy(rings.inner), Array.from_numpy(rings.values), type=kind.value_type)
    missing = np.asarray(absent, dtype=np.bool_)
    return list_array(
        Array.from_numpy(rings.outer),
        inner,
        type=kind,
        mask=Array.from_numpy(missing) if missing.any() else None,
    )


def rings_of_lists(rows: Sequence[Sequence[Sequence[float]] | None]) -> Rings:
    """Rings of Python's lists; nothing for None."""
    import numpy as np

    rings = [ring for row in rows if row is not None for ring in row]
    outer = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([0 if row is None else len(row) for row in rows], out=outer[1:])
    inner = np.zeros(len(rings) + 1, dtype=np.int64)
    np.cumsum([len(ring) for ring in rings], out=inner[1:])
    values = np.fromiter((number for ring in rings for number in ring), np.float32, int(inner[-1]))
    return Rings(outer, inner, values)


def present(array: Array) -> Bits | None:
    """Which values are there; None if all are."""
    import numpy as np

    if not array.null_count:
        return None
    schema, capsule = array.__arrow_c_array__()
    told = _Array.from_address(_pointer(capsule, b"arrow_array"))
    first, count = told.offset, told.length
    size = (first + count + 7) // 8
    data = np.frombuffer((ctypes.c_uint8 * size).from_address(told.buffers[0]), dtype=np.uint8)
    found = np.unpackbits(data, count=first + count, bitorder="little")[first:].astype(np.bool_)
    del schema, capsule  # they own the memory until here
    return found


def values_of(array: Array, blank: float = 0) -> Numbers:
    """The numbers of an array, ``blank`` where there is none."""
    import numpy as np
    from arro3.core import Array

    there = present(array)
    if there is None:
        return array.to_numpy()
    kept = array.take(Array.from_numpy(np.flatnonzero(there).astype(np.uint32))).to_numpy()
    found = np.full(len(there), blank, dtype=kept.dtype)
    found[there] = kept
    return found


def table_of(array: Array, length: int) -> Numbers:
    """The numbers of an array of fixed lists, ``(n, length)``; anything where there is none."""
    from arro3.core import list_flatten

    found: Numbers = values_of(list_flatten(array)).reshape(-1, length)
    return found


def rings_of(array: Array) -> Rings:
    """The outlines of an array of them; no rings where there is nothing."""
    from arro3.core import list_flatten, list_offsets

    rings = list_flatten(array)
    values = list_flatten(rings)
    numbers: Any = values_of(values, float("nan"))
    return Rings(list_offsets(array).to_numpy(), list_offsets(rings).to_numpy(), numbers)


class _Array(ctypes.Structure):
    """``ArrowArray`` of Arrow's C data interface, as far as it is read."""

    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    )


def _pointer(capsule: object, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, name))
