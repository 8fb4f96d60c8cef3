"""MCAP recordings made for tests, as robots write them: ROS 2 (CDR), ROS 1, protobuf and JSON."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mcap.writer import CompressionType, Writer
from support.pictures import jpeg

SECOND = 10**9
START = 1_760_000_000 * SECOND


class Wire:
    """Writes fields one after the other: CDR, little-endian, or the serialization of ROS 1."""

    def __init__(self, *, ros1: bool = False) -> None:
        self.ros1 = ros1
        self.out = bytearray()

    def number(self, code: str, value: float) -> Wire:
        size = struct.calcsize(code)
        if not self.ros1:
            self.out += b"\0" * (-len(self.out) % size)
        self.out += struct.pack("<" + code, value)
        return self

    def text(self, value: str) -> Wire:
        data = value.encode() + (b"" if self.ros1 else b"\0")
        return self.blob(data)

    def blob(self, data: bytes) -> Wire:
        self.number("I", len(data))
        self.out += data
        return self

    def header(self, time: int, frame: str = "base") -> Wire:
        if self.ros1:
            self.number("I", 7)
        return self.number("I", time // SECOND).number("I", time % SECOND).text(frame)

    def done(self) -> bytes:
        return bytes(self.out) if self.ros1 else b"\0\1\0\0" + bytes(self.out)


def compressed_image(time: int, picture: bytes, *, ros1: bool = False) -> bytes:
    return Wire(ros1=ros1).header(time, "camera").text("jpeg").blob(picture).done()


def raw_image(time: int, pixels: np.ndarray, *, encoding: str = "rgb8") -> bytes:
    height, width = pixels.shape[:2]
    wire = Wire().header(time, "camera").number("I", height).number("I", width).text(encoding)
    return wire.number("B", 0).number("I", pixels.strides[0]).blob(pixels.tobytes()).done()


def point_cloud(time: int, points: np.ndarray, *, ros1: bool = False) -> bytes:
    """``points`` (n, 4) float32: x, y, z, intensity."""
    wire = Wire(ros1=ros1).header(time, "lidar").number("I", 1).number("I", len(points)).number("I", 4)
    for at, name in enumerate(("x", "y", "z", "intensity")):
        wire.text(name).number("I", 4 * at).number("B", 7).number("I", 1)
    wire.number("B", 0).number("I", 16).number("I", 16 * len(points))
    return wire.blob(points.astype("<f4").tobytes()).number("B", 1).done()


def nav_sat_fix(time: int, latitude: float, longitude: float, *, status: int = 0) -> bytes:
    wire = Wire().header(time, "gps").number("b", status).number("H", 1)
    for value in (latitude, longitude, 12.5, *[0.0] * 9):
        wire.number("d", value)
    return wire.number("B", 0).done()


def imu(time: int, roll: float, pitch: float, yaw: float) -> bytes:
    """Angles in degrees."""
    cr, cp, cy = (math.cos(math.radians(a) / 2) for a in (roll, pitch, yaw))
    sr, sp, sy = (math.sin(math.radians(a) / 2) for a in (roll, pitch, yaw))
    turned = (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )
    wire = Wire().header(time, "imu")
    for value in (*turned, *[0.0] * 9, *[0.0] * 3, *[0.0] * 9, *[0.0] * 3, *[0.0] * 9):
        wire.number("d", value)
    return wire.done()


def foxglove_json(time: int, picture: bytes) -> bytes:
    stamp = {"sec": time // SECOND, "nsec": time % SECOND}
    data = base64.b64encode(picture).decode()
    return json.dumps({"timestamp": stamp, "frame_id": "c", "data": data, "format": "jpeg"}).encode()


def _descriptors() -> descriptor_pb2.FileDescriptorSet:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="foxglove/CompressedImage.proto", package="foxglove", syntax="proto3"
    )
    message = file.message_type.add(name="CompressedImage")
    for name, number, kind in (
        ("frame_id", 4, field.TYPE_STRING),
        ("data", 2, field.TYPE_BYTES),
        ("format", 3, field.TYPE_STRING),
    ):
        message.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    return descriptor_pb2.FileDescriptorSet(file=[file])


DESCRIPTORS = _descriptors().SerializeToString()


def foxglove_protobuf(_time: int, picture: bytes) -> bytes:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_descriptors().file[0])
    kind: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("foxglove.CompressedImage"))
    return bytes(kind(frame_id="c", data=picture, format="jpeg").SerializeToString())


@dataclass(frozen=True)
class Stream:
    """A topic: what it is, and one message for each time (nanoseconds since its recording began)."""

    topic: str
    schema: str
    times: Sequence[int]
    message: Callable[[int, int], bytes]
    """From the number and the time of a message."""
    encoding: str = "cdr"
    schema_data: bytes = b""
    schema_encoding: str = "ros2msg"


def write(
    streams: Sequence[Stream],
    *,
    compression: CompressionType = CompressionType.ZSTD,
    chunk: int = 64 * 1024,
    chunked: bool = True,
    summary: bool = True,
) -> bytes:
    """A recording of the streams, in the order of time."""
    file = io.BytesIO()
    writer = Writer(
        file,
        chunk_size=chunk,
        compression=compression,
        use_chunking=chunked,
        use_statistics=summary,
        use_summary_offsets=summary,
        repeat_channels=summary,
        repeat_schemas=summary,
    )
    writer.start(profile="ros2", library="tintype tests")
    messages = []
    for stream in streams:
        schema = writer.register_schema(stream.schema, stream.schema_encoding, stream.schema_data)
        channel = writer.register_channel(stream.topic, stream.encoding, schema)
        messages += [(START + t, channel, n, stream) for n, t in enumerate(stream.times)]
    for time, channel, number, stream in sorted(messages, key=lambda m: m[:3]):
        data = stream.message(number, time)
        writer.add_message(channel, log_time=time, publish_time=time, sequence=number, data=data)
    writer.finish()
    return file.getvalue()


def every(seconds: float, count: int, offset: float = 0.0) -> list[int]:
    """Times of ``count`` messages."""
    return [round((offset + n * seconds) * SECOND) for n in range(count)]


def camera(topic: str = "/camera/jpeg", count: int = 10, *, seconds: float = 0.1, seed: int = 0) -> Stream:
    return Stream(
        topic,
        "sensor_msgs/msg/CompressedImage",
        every(seconds, count),
        lambda n, t: compressed_image(t, jpeg(96, 64, seed=seed + n)),
    )


def lidar(topic: str = "/lidar/points", count: int = 10, *, seconds: float = 0.1) -> Stream:
    return Stream(
        topic,
        "sensor_msgs/msg/PointCloud2",
        every(seconds, count, 0.01),
        lambda n, t: point_cloud(t, np.full((20, 4), n, np.float32)),
    )


def gps(count: int = 2) -> Stream:
    return Stream(
        "/gps", "sensor_msgs/msg/NavSatFix", every(1.0, count), lambda n, t: nav_sat_fix(t, 52 + n, 13 - n)
    )


def attitude(count: int = 20) -> Stream:
    return Stream("/imu", "sensor_msgs/msg/Imu", every(0.05, count), lambda n, t: imu(t, 1.0, -2.0, 10.0 + n))


def drive(count: int = 10, **options: Any) -> bytes:
    """A camera with LiDAR, GPS, IMU and something else beside it."""
    other = Stream("/tf", "tf2_msgs/msg/TFMessage", every(0.5, 3), lambda n, t: b"\0\1\0\0\0\0\0\0")
    return write([camera(count=count), lidar(count=count), gps(), attitude(), other], **options)
