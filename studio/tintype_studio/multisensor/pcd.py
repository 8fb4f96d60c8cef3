"""Point clouds in PCD files (version 0.7 of the Point Cloud Library): ascii, binary and binary_compressed.

A header is believed only where the bytes behind it agree: nothing is allocated for points that a file claims
and cannot hold. Format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html; the compressed
form is LZF (Lehmann), field after field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.names import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_BYTES = 200 << 20
"""Of a file, and of its points once they are decompressed."""
MAX_COMPRESSED = 32 << 20
"""Bytes that a compressed file may expand to: it is done here, and slowly."""
MAX_ASCII = 32 << 20
"""Bytes of a file of text: each of its words is an object for a while."""
MAX_POINTS = 10_000_000
MAX_FIELDS = 128
_MAX_HEADER = 1 << 14
_MAX_POINT = 1 << 16
_MAX_WORD = 64
"""Characters of a number."""
_LZF_RATIO = 90
"""No LZF stream expands further: three bytes name at most 264."""
_TYPES = {("I", n) for n in (1, 2, 4, 8)} | {("U", n) for n in (1, 2, 4, 8)} | {("F", 4), ("F", 8)}
_KEYS = frozenset({"VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS"})
_PADDING = "_"


@dataclass(frozen=True, slots=True)
class Field:
    """A value of each point: ``type`` is I, U or F, ``size`` its bytes, ``count`` how many there are."""

    name: str
    type: str
    size: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Header:
    """What the head of a file says, checked against itself. ``data_at`` is where its points begin."""

    fields: tuple[Field, ...]
    width: int
    height: int
    encoding: str
    data_at: int

    @property
    def points(self) -> int:
        """How many it holds."""
        return self.width * self.height

    @property
    def point_size(self) -> int:
        """Bytes of one point."""
        return sum(field.size * field.count for field in self.fields)


@dataclass(frozen=True, slots=True)
class CloudFacts:
    """What a point cloud holds. ``low`` and ``high`` are the corners of its bounds in metres (x, y, z), None
    when no point has finite coordinates; ``finite`` counts those that have.
    """

    points: int
    finite: int
    fields: tuple[str, ...]
    encoding: str
    low: tuple[float, float, float] | None
    high: tuple[float, float, float] | None


def check(data: bytes) -> CloudFacts:
    """Read a file whole and say what it holds.

    Raises:
        InvalidInput: it is no PCD file, its header contradicts itself or the bytes behind it, or it has no
            x, y, z (``invalid_point_cloud``).
        TooLarge: it is larger, or claims to be, than a point cloud may be.
    """
    import numpy as np

    header = read_header(data)
    xyz = points_of(data)
    finite = xyz[np.isfinite(xyz).all(axis=1)]
    low = high = None
    if len(finite):
        low, high = _corner(finite.min(axis=0)), _corner(finite.max(axis=0))
    names = tuple(field.name for field in header.fields if field.name != _PADDING)
    return CloudFacts(header.points, len(finite), names, header.encoding, low, high)


def points_of(data: bytes) -> npt.NDArray[np.float64]:
    """Coordinates in metres, ``(n, 3)``, not all of them finite. Raises as ``check``."""
    import numpy as np

    columns = columns_of(data, ("x", "y", "z"))
    return np.stack([columns[axis].astype(np.float64) for axis in ("x", "y", "z")], axis=1)


def columns_of(data: bytes, names: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Fields by name, each ``(n,)``, or ``(n, count)`` of several values; all without ``names``.

    Raises as ``check``, and InvalidInput for a name that the file does not have.
    """
    header = read_header(data)
    known = {field.name for field in header.fields} - {_PADDING}
    missing = [name for name in names or () if name not in known]
    if missing:
        raise _invalid(f"The point cloud has no field {printable(missing[0])[:40]!r}.")
    read = {"ascii": _of_text, "binary": _of_binary, "binary_compressed": _of_compressed}[header.encoding]
    found = read(data, header)
    return {name: found[name] for name in (names if names is not None else found)}


def pcd_of(columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A binary file of columns ``(n,)`` of equal length; floats of 8 bytes are written as 4."""
    import numpy as np

    short = {
        name: values.astype(np.float32) if values.dtype == np.float64 else values
        for name, values in columns.items()
    }
    number = len(next(iter(short.values())))
    kinds = {"f": "F", "i": "I", "u": "U"}
    record = np.empty(
        number, dtype=[(name, values.dtype.newbyteorder("<")) for name, values in short.items()]
    )
    for name, values in short.items():
        record[name] = values
    lines = (
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        f"FIELDS {' '.join(short)}",
        f"SIZE {' '.join(str(values.dtype.itemsize) for values in short.values())}",
        f"TYPE {' '.join(kinds[values.dtype.kind] for values in short.values())}",
        f"COUNT {' '.join('1' for _ in short)}",
        f"WIDTH {number}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {number}",
        "DATA binary\n",
    )
    return "\n".join(lines).encode() + record.tobytes()


def read_header(data: bytes) -> Header:
    """The head of a file, checked against itself and its length. Raises as ``check``."""
    if len(data) > MAX_BYTES:
        raise _large(f"it has {len(data):,} bytes", f"{MAX_BYTES:,} bytes")
    told, encoding, data_at = _lines(data)
    for key in ("FIELDS", "SIZE", "TYPE", "WIDTH", "HEIGHT"):
        if key not in told:
            raise _invalid(f"Its header has no {key} line.")
    names = told["FIELDS"]
    if not 0 < len(names) <= MAX_FIELDS:
        raise _invalid(f"Its header lists {len(names)} fields; 1 to {MAX_FIELDS} can be read.")
    sizes, types = _numbers(told["SIZE"], "SIZE"), told["TYPE"]
    counts = _numbers(told["COUNT"], "COUNT") if "COUNT" in told else [1] * len(names)
    for key, values in (("SIZE", sizes), ("TYPE", types), ("COUNT", counts)):
        if len(values) != len(names):
            raise _invalid(f"Its {key} line has {len(values)} entries for {len(names)} fields.")
    fields = tuple(Field(*entry) for entry in zip(names, types, sizes, counts, strict=True))
    for field in fields:
        if (field.type, field.size) not in _TYPES or not 0 < field.count <= _MAX_POINT:
            shown = printable(f"{field.name} ({field.type}, {field.size} bytes, {field.count} values)")[:80]
            raise _invalid(f"Its field {shown} is of no type that PCD has.")
    width, height = (_one(told[key], key) for key in ("WIDTH", "HEIGHT"))
    points = _one(told["POINTS"], "POINTS") if "POINTS" in told else width * height
    if points != width * height:
        raise _invalid(f"Its header counts {points} points, but {width} x {height} in width and height.")
    header = Header(fields, width, height, encoding, data_at)
    _require_places(header)
    _require_bytes(header, len(data) - data_at)
    return header


def _lines(data: bytes) -> tuple[dict[str, list[str]], str, int]:
    """The lines of the header by their keys, how the points are written, and where they begin."""
    told: dict[str, list[str]] = {}
    at = 0
    while True:
        end = data.find(b"\n", at, at + _MAX_HEADER)
        if end < 0 or end > _MAX_HEADER:
            raise _invalid("It is no PCD file: no line DATA ends its header.")
        try:
            words = data[at:end].decode("ascii").split()
        except UnicodeDecodeError:
            raise _invalid("It is no PCD file: its header is no ASCII text.") from None
        at = end + 1
        if not words or words[0].startswith("#"):
            continue
        key = words[0].upper()
        if key == "DATA":
            break
        if key not in _KEYS:
            raise _invalid(f"It is no PCD file: its header has a line {printable(words[0])[:40]!r}.")
        if key in told:
            raise _invalid(f"Its header has two {key} lines.")
        told[key] = words[1:]
    encoding = words[1].lower() if len(words) == 2 else ""
    if encoding not in {"ascii", "binary", "binary_compressed"}:
        raise _invalid("Its DATA line names none of ascii, binary and binary_compressed.")
    return told, encoding, at


def _require_places(header: Header) -> None:
    """That every point says once where it is."""
    named = [field for field in header.fields if field.name != _PADDING]
    if len({field.name for field in named}) != len(named):
        raise _invalid("Its header lists a field twice.")
    places = {field.name for field in named if field.count == 1}
    for axis in ("x", "y", "z"):
        if axis not in places:
            raise _invalid(f"Its points have no single {axis}.")


def _require_bytes(header: Header, behind: int) -> None:
    """That the header claims no more points than the bytes behind it can hold."""
    if header.points > MAX_POINTS:
        raise _large(f"it claims {header.points:,} points", f"{MAX_POINTS:,} points")
    if header.point_size > _MAX_POINT:
        raise _large(f"a point has {header.point_size:,} bytes", f"{_MAX_POINT:,} bytes a point")
    size = header.points * header.point_size
    if header.encoding == "binary" and not size <= behind <= size + 2:  # an editor may add a line end
        raise _invalid(
            f"Its header claims {header.points:,} points of {header.point_size} bytes, which is {size:,} "
            f"bytes, but {behind:,} follow."
        )
    if header.encoding == "ascii":
        if behind > MAX_ASCII:
            raise _large(f"it has {behind:,} bytes of text", f"{MAX_ASCII:,} bytes; write it as binary")
        values = header.points * sum(field.count for field in header.fields)
        if behind + 1 < 2 * values:  # a digit and a space each
            raise _invalid(f"Its header claims {header.points:,} points, but only {behind:,} bytes follow.")


def _record(header: Header) -> np.dtype[Any]:
    """One point as it is written."""
    import numpy as np

    entries: list[Any] = []
    for number, field in enumerate(header.fields):
        name = field.name if field.name != _PADDING else f"\0{number}"
        kind = f"<{field.type.lower()}{field.size}"
        entries.append((name, kind) if field.count == 1 else (name, kind, (field.count,)))
    return np.dtype(entries)


def _of_binary(data: bytes, header: Header) -> dict[str, npt.NDArray[Any]]:
    import numpy as np

    rows = np.frombuffer(data, dtype=_record(header), count=header.points, offset=header.data_at)
    return {field.name: rows[field.name] for field in header.fields if field.name != _PADDING}


def _of_compressed(data: bytes, header: Header) -> dict[str, npt.NDArray[Any]]:
    import numpy as np

    at, size = header.data_at + 8, header.points * header.point_size
    if len(data) < at:
        raise _invalid("It ends before its compressed points begin.")
    packed = int.from_bytes(data[at - 8 : at - 4], "little")
    unpacked = int.from_bytes(data[at - 4 : at], "little")
    if unpacked != size:
        raise _invalid(
            f"Its header claims {header.points:,} points of {header.point_size} bytes, which is {size:,} "
            f"bytes, but its compressed part says {unpacked:,}."
        )
    if not packed <= len(data) - at <= packed + 2:
        raise _invalid(f"Its compressed part claims {packed:,} bytes, but {len(data) - at:,} follow.")
    if unpacked > MAX_COMPRESSED:
        raise _large(f"it expands to {unpacked:,} bytes", f"{MAX_COMPRESSED:,} bytes; write it as binary")
    if unpacked > packed * _LZF_RATIO:
        raise _invalid(f"Its {packed:,} compressed bytes cannot make {unpacked:,}.")
    plain = _unpacked(data[at : at + packed], unpacked)
    found: dict[str, npt.NDArray[Any]] = {}
    start = 0
    for field in header.fields:
        number = header.points * field.count
        values = np.frombuffer(plain, f"<{field.type.lower()}{field.size}", count=number, offset=start)
        start += number * field.size
        if field.name != _PADDING:
            found[field.name] = values if field.count == 1 else values.reshape(header.points, field.count)
    return found


def _unpacked(packed: bytes, size: int) -> bytes:
    """LZF: a byte below 32 is followed by as many bytes and one more; others name what came before."""
    out = bytearray()
    at, end = 0, len(packed)
    try:
        while at < end:
            control = packed[at]
            if control < 32:
                at += 1
                out += packed[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            at += 1
            if length == 7:
                length += packed[at]
                at += 1
            back = ((control & 31) << 8) + packed[at] + 1
            at += 1
            length += 2
            start = len(out) - back
            if start < 0 or len(out) > size:
                break
            # What is named may reach into what it makes.
            piece = out[start : start + length]
            out += piece if len(piece) == length else (piece * (length // len(piece) + 1))[:length]
    except IndexError:
        at = end + 1
    if at != end or len(out) != size:
        raise _invalid("Its compressed points are damaged.")
    return bytes(out)


def _of_text(data: bytes, header: Header) -> dict[str, npt.NDArray[Any]]:
    import numpy as np

    across = sum(field.count for field in header.fields)
    words = data[header.data_at :].split(maxsplit=header.points * across)
    if len(words) != header.points * across:
        more = "more" if len(words) > header.points * across else "fewer"
        raise _invalid(f"Its header claims {header.points:,} points of {across} values; {more} follow.")
    if words and max(map(len, words)) > _MAX_WORD:
        raise _invalid("One of its values is no number.")
    found: dict[str, npt.NDArray[Any]] = {}
    start = 0
    try:
        for field in header.fields:
            kind = np.dtype(f"<{field.type.lower()}{field.size}")
            columns = [_column(words[n::across], kind) for n in range(start, start + field.count)]
            start += field.count
            if field.name != _PADDING:
                found[field.name] = columns[0] if field.count == 1 else np.stack(columns, axis=1)
    except (ValueError, OverflowError):
        raise _invalid("One of its values is no number of its field's type.") from None
    return found


def _column(words: list[bytes], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    import numpy as np

    if kind.kind == "f":
        return np.array(words, dtype="S").astype(np.float64).astype(kind) if words else np.empty(0, kind)
    return np.array([int(word) for word in words], dtype=kind)


def _numbers(words: Sequence[str], key: str) -> list[int]:
    if not all(word.isascii() and word.isdigit() and len(word) <= 12 for word in words):
        raise _invalid(f"Its {key} line has something else than whole numbers.")
    return [int(word) for word in words]


def _one(words: Sequence[str], key: str) -> int:
    if len(words) != 1:
        raise _invalid(f"Its {key} line has {len(words)} entries, not one.")
    return _numbers(words, key)[0]


def _corner(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"The point cloud cannot be read. {text}",
        code="invalid_point_cloud",
        fix="Write it anew as a PCD file of version 0.7 with the fields x, y and z.",
    )


def _large(what: str, limit: str) -> TooLarge:
    return TooLarge(
        f"The point cloud is too large: {what}; the limit is {limit}.",
        code="point_cloud_too_large",
        fix="Thin the cloud out or cut it into several.",
    )
