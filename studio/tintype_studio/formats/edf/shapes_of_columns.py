"""How many buffers the columns of an Arrow file have, and how long each must be.

The library that reads the file takes a header at its word, and gives up on the whole process where the
buffers are shorter than it says; so every batch is compared with the schema here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tintype_studio.formats.edf.flat import Damaged, Flat

MAX_FIELDS = 10_000
MAX_DEPTH = 16

_NULL, _INT, _FLOAT, _BINARY, _TEXT, _BOOL, _DECIMAL, _DATE, _TIME, _STAMP, _INTERVAL = range(1, 12)
_LIST, _STRUCT, _UNION, _FIXED_BINARY, _FIXED_LIST, _MAP, _DURATION = range(12, 19)
_LARGE_BINARY, _LARGE_TEXT, _LARGE_LIST, _RUNS, _BINARY_VIEW, _TEXT_VIEW = range(19, 25)
_OFFSETS = {
    _BINARY: 4,
    _TEXT: 4,
    _LIST: 4,
    _MAP: 4,
    _LARGE_BINARY: 8,
    _LARGE_TEXT: 8,
    _LARGE_LIST: 8,
}
_NESTED = frozenset({_LIST, _LARGE_LIST, _MAP, _FIXED_LIST, _STRUCT})


@dataclass(frozen=True, slots=True)
class Layout:
    """How a column lies in a batch. ``bits`` of each value where these are fixed."""

    kind: int
    bits: int = 0
    list_size: int = 0
    children: tuple[Layout, ...] = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file, and those that its dictionaries hold, by their ids."""

    layouts: tuple[Layout, ...]
    dictionaries: dict[int, Layout]


def columns_of(schema: Flat) -> Columns:
    """The columns of a schema.

    Raises:
        Damaged: it is no schema of little-endian columns, or has kinds that are not read.
    """
    if schema.number(0, "h"):
        raise Damaged("its numbers are big-endian")
    dictionaries: dict[int, Layout] = {}
    count = [0]
    fields = schema.tables(1)
    return Columns(tuple(_column(field, dictionaries, count, 0) for field in fields), dictionaries)


def _column(field: Flat, dictionaries: dict[int, Layout], count: list[int], depth: int) -> Layout:
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_FIELDS:
        raise Damaged("its columns are nested too deep, or too many")
    field.text(0)
    kind = field.number(2, "B")
    children = tuple(_column(child, dictionaries, count, depth + 1) for child in field.tables(5))
    told = field.table(3)
    if bool(children) != (kind in _NESTED) and kind != _STRUCT:
        raise Damaged("a column has no kind, or another than it needs")
    if kind in {_LIST, _LARGE_LIST, _MAP, _FIXED_LIST} and len(children) != 1:
        raise Damaged("a list has not one kind of values")
    layout = Layout(kind, _bits(kind, told), told.number(0, "i") if kind == _FIXED_LIST else 0, children)
    if layout.list_size < 0:
        raise Damaged("a list of a fixed length has a negative one")
    if not field.has(4):
        return layout
    encoding = field.table(4)
    id = encoding.number(0, "q")
    if dictionaries.setdefault(id, layout) != layout:
        raise Damaged("two columns share a dictionary and are of two kinds")
    bits = encoding.table(1).number(0, "i", 32) if encoding.has(1) else 32
    if bits not in {8, 16, 32, 64}:
        raise Damaged("a dictionary has numbers of another width than there are")
    return Layout(_INT, bits)


_FIXED: dict[int, Callable[[Flat], int]] = {
    _INT: lambda told: told.number(0, "i"),
    _FLOAT: lambda told: {0: 16, 1: 32, 2: 64}.get(told.number(0, "h"), -1),
    _BOOL: lambda _told: 1,
    _DECIMAL: lambda told: told.number(2, "i", 128),
    _DATE: lambda told: {0: 32, 1: 64}.get(told.number(0, "h", 1), -1),
    _TIME: lambda told: told.number(1, "i", 32),
    _STAMP: lambda _told: 64,
    _DURATION: lambda _told: 64,
    _INTERVAL: lambda told: {0: 32, 1: 64, 2: 128}.get(told.number(0, "h"), -1),
    _FIXED_BINARY: lambda told: 8 * told.number(0, "i"),
    _BINARY_VIEW: lambda _told: 128,
    _TEXT_VIEW: lambda _told: 128,
}
_WIDTHS = frozenset({1, 8, 16, 32, 64, 128, 256})


def _bits(kind: int, told: Flat) -> int:
    """The width of a value of a fixed one; 0 for others."""
    if kind in _NESTED or kind in _OFFSETS or kind == _NULL:
        return 0
    if kind not in _FIXED:
        raise Damaged("a column is of a kind that is not read (a union or the like)")
    if kind == _STAMP:
        told.text(1)
    found = _FIXED[kind](told)
    if found <= 0 or (kind != _FIXED_BINARY and found not in _WIDTHS):
        raise Damaged("a column has values of a width that there is not")
    return found


def check_buffers(
    layouts: tuple[Layout, ...],
    rows: int,
    nodes: list[tuple[int, int]],
    sizes: list[int],
    more: list[int],
) -> None:
    """Compare a batch with its columns.

    ``nodes`` are counts of values and of missing ones, ``sizes`` bytes of the unpacked buffers, ``more``
    counts of further buffers of columns that have any number of them.

    Raises:
        Damaged: there are other counts, or a buffer is shorter than its values.
    """
    values, buffers, further = iter(nodes), iter(sizes), iter(more)
    try:
        for layout in layouts:
            _check(layout, rows, values, buffers, further, True)
    except StopIteration:
        raise Damaged("a batch has fewer columns than the schema") from None
    if any(next(rest, None) is not None for rest in (values, buffers, further)):
        raise Damaged("a batch has more columns than the schema")


def _check(
    layout: Layout,
    length: int | None,
    nodes: Iterator[tuple[int, int]],
    sizes: Iterator[int],
    more: Iterator[int],
    top: bool,
) -> None:
    count, missing = next(nodes)
    if count < 0 or not 0 <= missing <= count or (top and count != length):
        raise Damaged("a column has another count of values than its batch")
    if not top and length is not None and count < length:
        raise Damaged("a column has fewer values than its lists")
    if layout.kind == _NULL:
        return
    valid = next(sizes)
    if valid < (count + 7) // 8 and (missing or valid):
        raise Damaged("a column is shorter than it claims")
    if (width := _OFFSETS.get(layout.kind)) is not None:
        size = next(sizes)
        if (size < (count + 1) * width and count) or size % width:
            raise Damaged("a column is shorter than it claims")
        if not layout.children:
            next(sizes)
    elif layout.bits:
        size = next(sizes)
        if size < (count * layout.bits + 7) // 8 or (layout.bits >= 8 and size % (layout.bits // 8)):
            raise Damaged("a column is shorter than it claims")
        if layout.kind in {_BINARY_VIEW, _TEXT_VIEW}:
            _skip(sizes, next(more))
    elif layout.kind not in {_FIXED_LIST, _STRUCT}:
        next(sizes)
    inner = count * layout.list_size if layout.kind == _FIXED_LIST else None
    for child in layout.children:
        _check(child, count if layout.kind == _STRUCT else inner, nodes, sizes, more, False)


def _skip(sizes: Iterator[int], count: int) -> None:
    if not 0 <= count <= MAX_FIELDS:
        raise Damaged("a column claims too many buffers")
    for _ in range(count):
        next(sizes)
