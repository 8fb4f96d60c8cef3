"""Messages of recordings that mean something here: pictures, point clouds, places and attitudes.

The definitions are public: ROS ``sensor_msgs`` (CDR of ROS 2, or the serialization of ROS 1) and the schemas
of Foxglove (protobuf, JSON, or CDR). Each is read into a mapping of its fields; what is not there is refused.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import orjson

from tintype_studio.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.snapshots.recording import Topic

P = ParamSpec("P")
T = TypeVar("T")


class Meaning(StrEnum):
    """What a topic is to a dataset."""

    CAMERA = "camera"
    POINTS = "points"
    LOCATION = "location"
    ATTITUDE = "attitude"
    OTHER = "other"
    """Stays in the snapshot; no dataset gets it."""


_PLAIN = ("cdr", "ros1")
_ANY = ("cdr", "ros1", "protobuf", "json")
_MEANINGS: dict[str, tuple[Meaning, tuple[str, ...]]] = {
    "sensor_msgs/CompressedImage": (Meaning.CAMERA, _PLAIN),
    "sensor_msgs/Image": (Meaning.CAMERA, _PLAIN),
    "foxglove/CompressedImage": (Meaning.CAMERA, _ANY),
    "foxglove/RawImage": (Meaning.CAMERA, _ANY),
    "sensor_msgs/PointCloud2": (Meaning.POINTS, _PLAIN),
    "foxglove/PointCloud": (Meaning.POINTS, _ANY),
    "sensor_msgs/NavSatFix": (Meaning.LOCATION, _PLAIN),
    "foxglove/LocationFix": (Meaning.LOCATION, _ANY),
    "sensor_msgs/Imu": (Meaning.ATTITUDE, _PLAIN),
}

_STAMP = (("sec", "u32"), ("nsec", "u32"))
_HEADER = ("header", "header")
_COVARIANCE = ("covariance", "f64[9]")
_LAYOUTS: dict[str, tuple[tuple[str, Any], ...]] = {
    "sensor_msgs/CompressedImage": (_HEADER, ("format", "text"), ("data", "bytes")),
    "sensor_msgs/Image": (
        _HEADER,
        ("height", "u32"),
        ("width", "u32"),
        ("encoding", "text"),
        ("is_bigendian", "u8"),
        ("step", "u32"),
        ("data", "bytes"),
    ),
    "sensor_msgs/PointCloud2": (
        _HEADER,
        ("height", "u32"),
        ("width", "u32"),
        ("fields", [("name", "text"), ("offset", "u32"), ("datatype", "u8"), ("count", "u32")]),
        ("is_bigendian", "u8"),
        ("point_step", "u32"),
        ("row_step", "u32"),
        ("data", "bytes"),
    ),
    "sensor_msgs/NavSatFix": (
        _HEADER,
        ("status", "u8"),
        ("service", "u16"),
        ("latitude", "f64"),
        ("longitude", "f64"),
        ("altitude", "f64"),
    ),
    "sensor_msgs/Imu": (
        _HEADER,
        ("x", "f64"),
        ("y", "f64"),
        ("z", "f64"),
        ("w", "f64"),
        ("orientation_covariance", "f64[9]"),
    ),
    "foxglove/CompressedImage": (
        ("timestamp", _STAMP),
        ("frame_id", "text"),
        ("data", "bytes"),
        ("format", "text"),
    ),
    "foxglove/RawImage": (
        ("timestamp", _STAMP),
        ("frame_id", "text"),
        ("width", "u32"),
        ("height", "u32"),
        ("encoding", "text"),
        ("step", "u32"),
        ("data", "bytes"),
    ),
    "foxglove/PointCloud": (
        ("timestamp", _STAMP),
        ("frame_id", "text"),
        ("pose", "f64[7]"),
        ("point_stride", "u32"),
        ("fields", [("name", "text"), ("offset", "u32"), ("type", "u8")]),
        ("data", "bytes"),
    ),
    "foxglove/LocationFix": (
        ("timestamp", _STAMP),
        ("frame_id", "text"),
        ("latitude", "f64"),
        ("longitude", "f64"),
        ("altitude", "f64"),
    ),
}
"""Fields in their order, as far as they are of use."""

MAX_POINTS = 10_000_000
MAX_FIELDS = 128
_ROS_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_FOXGLOVE_TYPES = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}
_PIXELS = {
    "rgb8": (3, "RGB"),
    "8UC3": (3, "RGB"),
    "bgr8": (3, "BGR"),
    "rgba8": (4, "RGBA"),
    "bgra8": (4, "BGRA"),
    "mono8": (1, "L"),
    "8UC1": (1, "L"),
}
MAX_PIXELS = 100_000_000


class Unreadable(Exception):
    """A message that is not what its type says; ``args[0]`` tells why, for a note."""


def type_name(schema: str) -> str:
    """``sensor_msgs/Image`` for whatever way a type's name is written in."""
    name = schema.replace("/msg/", "/").replace(".", "/")
    return name.replace("foxglove_msgs/", "foxglove/")


def meaning_of(schema: str, encoding: str) -> Meaning:
    """What messages of a type are, where they can be read."""
    meaning, encodings = _MEANINGS.get(type_name(schema), (Meaning.OTHER, ()))
    return meaning if encoding in encodings else Meaning.OTHER


def fields_of(topic: Topic, data: bytes) -> Mapping[str, Any]:
    """The fields of a message; ``Unreadable`` where they are not there."""
    kind = type_name(topic.schema)
    if topic.encoding == "protobuf":
        return _Protobuf(_message_class(topic.schema, topic.schema_data), data)
    if topic.encoding == "json":
        return _of_json(data)
    return _Wire(data, ros1=topic.encoding == "ros1").fields(_LAYOUTS[kind])


def _readable(read: Callable[P, T]) -> Callable[P, T]:
    """``Unreadable``, too, for a message that lacks a field or holds something else in its place."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (LookupError, TypeError, ValueError, OverflowError):
            raise Unreadable("a field is missing or holds something else") from None

    return reading


@_readable
def picture_of(topic: Topic, data: bytes) -> bytes:
    """A camera's picture as an encoded file: as it was recorded, or as PNG where it was not compressed."""
    found = fields_of(topic, data)
    pixels = _bytes(found, "data")
    if type_name(topic.schema).endswith("CompressedImage"):
        return pixels
    return _png_of(found, pixels)


@_readable
def cloud_of(topic: Topic, data: bytes) -> dict[str, npt.NDArray[Any]]:
    """A point cloud as columns, each of as many values as there are points."""
    import numpy as np

    found = fields_of(topic, data)
    points = _bytes(found, "data")
    ros = type_name(topic.schema).startswith("sensor_msgs/")
    step = _whole(found, "point_step" if ros else "point_stride")
    if not 1 <= step <= 1 << 16:
        raise Unreadable("a point has no bytes")
    count = _whole(found, "width") * _whole(found, "height") if ros else len(points) // step
    if count > MAX_POINTS or count * step > len(points):
        raise Unreadable("it has fewer bytes than points")
    if ros and _whole(found, "height") > 1 and _whole(found, "row_step") != _whole(found, "width") * step:
        points = _rows(points, found, step)
    order = ">" if ros and found["is_bigendian"] else "<"
    names, formats, offsets = _columns(found["fields"], ros=ros, order=order, step=step)
    try:
        record = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": step})
        table = np.frombuffer(points, record, count)
    except (ValueError, TypeError):
        raise Unreadable("its fields do not fit its points") from None
    return {
        name: np.ascontiguousarray(table[name].astype(table[name].dtype.newbyteorder("="))) for name in names
    }


@_readable
def location_of(topic: Topic, data: bytes) -> tuple[float, float] | None:
    """Latitude and longitude in degrees; None while there is no fix."""
    found = fields_of(topic, data)
    latitude, longitude = _number(found, "latitude"), _number(found, "longitude")
    if found.get("status", 0) == 255 or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None  # -1 as a byte: no fix; also NaN
    return latitude, longitude


@_readable
def attitude_of(topic: Topic, data: bytes) -> tuple[float, float, float] | None:
    """Roll, pitch and yaw in degrees (rotations about x, y, z, in that order); None where it is not known."""
    found = fields_of(topic, data)
    x, y, z, w = (float(found[name]) for name in "xyzw")
    norm = math.hypot(x, y, z, w)
    if found["orientation_covariance"][0] == -1 or not 0.5 < norm < 2:
        return None
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    # Rounded to what no sensor can tell apart: the way through sines leaves noise in the last digits.
    return round(math.degrees(roll), 6), round(math.degrees(pitch), 6), round(math.degrees(yaw), 6)


def _rows(points: bytes, found: Mapping[str, Any], step: int) -> bytes:
    """The points of rows that have something behind them."""
    row, width = _whole(found, "row_step"), _whole(found, "width") * step
    height = _whole(found, "height")
    if row < width or (height - 1) * row + width > len(points):
        raise Unreadable("it has fewer bytes than points")
    return b"".join(points[at * row : at * row + width] for at in range(height))


def _columns(fields: Any, *, ros: bool, order: str, step: int) -> tuple[list[str], list[Any], list[int]]:
    names: list[str] = []
    formats: list[Any] = []
    offsets: list[int] = []
    if not isinstance(fields, list | tuple) or len(fields) > MAX_FIELDS:
        raise Unreadable("its fields are not told")
    for each in fields:
        try:
            name, offset = str(each["name"]), int(each["offset"])
            kind = (_ROS_TYPES if ros else _FOXGLOVE_TYPES)[int(each["datatype" if ros else "type"])]
            several = int(each["count"]) if ros else 1
        except (KeyError, TypeError, ValueError):
            raise Unreadable("a field has no known type") from None
        if several != 1 or name in names or not name.isascii() or not name or " " in name:
            continue  # padding, or what is no column of numbers
        if not 0 <= offset <= step - int(kind[1]):
            raise Unreadable("a field lies outside of its point")
        names.append(name)
        formats.append(order + kind)
        offsets.append(offset)
    if not {"x", "y", "z"} <= set(names):
        raise Unreadable("it has no x, y and z")
    if sum(int(each[2:]) for each in formats) > step:  # a few bytes told to be many columns
        raise Unreadable("its fields overlap")
    return names, formats, offsets


def _png_of(found: Mapping[str, Any], pixels: bytes) -> bytes:
    import cv2
    import numpy as np

    width, height, step = (_whole(found, name) for name in ("width", "height", "step"))
    known = _PIXELS.get(str(found["encoding"]))
    if known is None:
        raise Unreadable(f"pixels of the kind {str(found['encoding'])[:20]!r} are not known here")
    channels, order = known
    if not (0 < width * height <= MAX_PIXELS and step >= width * channels) or len(pixels) < step * height:
        raise Unreadable("it has fewer bytes than pixels")
    rows = np.frombuffer(pixels, np.uint8, step * height).reshape(height, step)
    picture: npt.NDArray[np.uint8] = rows[:, : width * channels].reshape(height, width, channels)
    if order in {"RGB", "RGBA"}:
        picture = picture[:, :, [2, 1, 0]]
    elif order == "BGRA":
        picture = picture[:, :, :3]
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(picture))
    if not done:
        raise Unreadable("it cannot be written as PNG")
    return bytes(encoded)


def _bytes(found: Mapping[str, Any], name: str) -> bytes:
    value = found.get(name)
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable(f"{name} is not base64") from None
    if not isinstance(value, bytes):
        raise Unreadable(f"it has no {name}")
    return value


def _whole(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unreadable(f"it has no {name}")
    return value


def _number(found: Mapping[str, Any], name: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"it has no {name}")
    return float(value)


def _of_json(data: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Unreadable("it is not JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("it is not a JSON object")
    return found


class _Wire:
    """Reads the serialization of ROS 2 (CDR, version 1 or 2) or of ROS 1."""

    def __init__(self, data: bytes, *, ros1: bool) -> None:
        self._data = data
        self._ros1 = ros1
        self._at = 0
        self._from = 0
        self._order = "<"
        self._widest = 1
        if not ros1:
            kind = data[1] if len(data) >= 4 else 255
            if kind not in {0, 1, 6, 7}:
                raise Unreadable("it is not CDR")
            self._order = "<" if kind & 1 else ">"
            self._widest = 8 if kind < 6 else 4
            self._at = self._from = 4

    def fields(self, layout: Any) -> dict[str, Any]:
        """A structure of the layout."""
        return {name: self._value(kind) for name, kind in layout}

    def _value(self, kind: Any) -> Any:
        if isinstance(kind, list):
            count = self._number("I", 4)
            if count > MAX_FIELDS:
                raise Unreadable("it has too many fields")
            return [self.fields(kind) for _ in range(count)]
        if isinstance(kind, tuple):
            return self.fields(kind)
        return self._readers[kind](self)

    def _header(self) -> dict[str, Any]:
        if self._ros1:
            self._number("I", 4)
        return self.fields((*_STAMP, ("frame_id", "text")))

    def _number(self, code: str, size: int) -> Any:
        align = min(size, self._widest)
        self._at += -(self._at - self._from) % align
        try:
            (value,) = struct.unpack_from(self._order + code, self._data, self._at)
        except struct.error:
            raise Unreadable("it ends too early") from None
        self._at += size
        return value

    def _sequence(self) -> bytes:
        count = self._number("I", 4)
        if count > len(self._data) - self._at:
            raise Unreadable("it ends too early")
        value = self._data[self._at : self._at + count]
        self._at += count
        return value

    _readers: Mapping[str, Callable[[_Wire], Any]] = {
        "header": lambda wire: wire._header(),
        "u8": lambda wire: wire._number("B", 1),
        "u16": lambda wire: wire._number("H", 2),
        "u32": lambda wire: wire._number("I", 4),
        "f64": lambda wire: wire._number("d", 8),
        "f64[7]": lambda wire: [wire._number("d", 8) for _ in range(7)],
        "f64[9]": lambda wire: [wire._number("d", 8) for _ in range(9)],
        "bytes": lambda wire: wire._sequence(),
        "text": lambda wire: wire._sequence().rstrip(b"\0").decode("utf-8", "replace"),
    }


@lru_cache(maxsize=64)
def _message_class(name: str, schema: bytes) -> Any:
    """The class of a message that is described by a set of file descriptors."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(schema)
        pool = descriptor_pool.DescriptorPool()
        left = {file.name: file for file in files.file}
        while left:  # a file is added after those that it needs
            ready = [f for f in left.values() if not any(each in left for each in f.dependency)]
            if not ready:
                raise Unreadable("its description refers to itself")
            for file in ready:
                pool.Add(left.pop(file.name))  # type: ignore[attr-defined, no-untyped-call, unused-ignore]
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except (DecodeError, KeyError, TypeError, ValueError):
        raise Unreadable("its description cannot be read") from None


class _Protobuf(Mapping[str, Any]):
    """A message of protobuf as a mapping."""

    def __init__(self, kind: Any, data: bytes | Any) -> None:
        from google.protobuf.message import DecodeError

        if isinstance(data, bytes):
            self._message = kind()
            try:
                self._message.ParseFromString(data)
            except DecodeError:
                raise Unreadable("it is not what its description says") from None
        else:
            self._message = data

    def __getitem__(self, name: str) -> Any:
        if name not in self._message.DESCRIPTOR.fields_by_name:
            raise KeyError(name)
        value = getattr(self._message, name)
        if hasattr(value, "DESCRIPTOR"):
            return _Protobuf(None, value)
        if isinstance(value, bytes | str | int | float | bool):
            return value
        return [_Protobuf(None, each) if hasattr(each, "DESCRIPTOR") else each for each in value]

    def __iter__(self) -> Any:
        return iter(self._message.DESCRIPTOR.fields_by_name)

    def __len__(self) -> int:
        return len(self._message.DESCRIPTOR.fields_by_name)


def no_depth() -> InvalidInput:
    """The refusal to guess depth: no engine here has weights for it."""
    return InvalidInput(
        "Depth maps cannot be made: no depth engine with weights is installed on this server.",
        code="needs_depth_engine",
        fix="Restore with autodepth=false; depth maps that the recording or the files hold are kept.",
    )
