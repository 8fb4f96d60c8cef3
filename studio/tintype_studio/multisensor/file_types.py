"""What kinds of files a sample has: one of each at most.

Names are those of the EdgeFirst client; what else its files may be called (``lidar.png``) is an alias here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tintype_studio.errors import InvalidInput, TintypeError, TooLarge
from tintype_studio.names import printable

IMAGE = "image"
LIDAR_PCD = "lidar.pcd"
LIDAR_DEPTH = "lidar.depth"
LIDAR_REFLECT = "lidar.reflect"
RADAR_PCD = "radar.pcd"
RADAR_CUBE = "radar.png"

MIB = 1024 * 1024
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FileType:
    """A kind of file."""

    name: str
    """As it is kept in ``sample_files.type``."""
    title: str
    max_bytes: int
    suffix: str
    """What follows the sample's name where the file gets a name of ours, such as ``.lidar.pcd``."""
    media_type: str
    aliases: tuple[str, ...] = ()


FILE_TYPES: dict[str, FileType] = {
    each.name: each
    for each in (
        FileType(IMAGE, "picture", 50 * MIB, ".camera.jpeg", "image/jpeg", ("camera",)),
        FileType(LIDAR_PCD, "LiDAR point cloud", 200 * MIB, ".lidar.pcd", BYTES, ("pcd",)),
        FileType(
            LIDAR_DEPTH,
            "LiDAR depth map",
            50 * MIB,
            ".lidar.png",
            "image/png",
            ("lidar.png", "depth.png", "depthmap", "depth"),
        ),
        FileType(
            LIDAR_REFLECT,
            "LiDAR reflectance picture",
            50 * MIB,
            ".lidar.jpeg",
            "image/jpeg",
            ("lidar.jpg", "lidar.jpeg", "reflect"),
        ),
        FileType(RADAR_PCD, "radar point cloud", 200 * MIB, ".radar.pcd", BYTES),
        FileType(RADAR_CUBE, "radar cube", 200 * MIB, ".radar.png", "image/png", ("cube", "radar.cube")),
    )
}
"""Kinds that are checked when they come in, by name."""

MAX_OTHER_BYTES = 200 * MIB
"""Of a file of a kind that is not known here; it is kept as it is."""

_ALIASES = {alias: each.name for each in FILE_TYPES.values() for alias in (each.name, *each.aliases)}
_OTHER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}", re.ASCII)

SENSORS_IN_META = ("gps", "imu")
"""Named like file types on the wire, and kept in ``samples.meta``."""


def file_type(name: str) -> FileType:
    """The kind of this name or alias; ``InvalidInput`` (``unknown_file_type``) for what cannot be one.

    A name that is not known, such as ``thermal.png``, is a kind of its own, whose files are not checked.
    """
    lowered = name.strip().lower()
    known = _ALIASES.get(lowered)
    if known is not None:
        return FILE_TYPES[known]
    if lowered in SENSORS_IN_META or lowered == "all" or not _OTHER.fullmatch(lowered):
        raise InvalidInput(
            f"{printable(name[:60])!r} is not a type of files.",
            code="unknown_file_type",
            fix=f"Use one of {', '.join(FILE_TYPES)}, or a short name of small letters and digits.",
        )
    return FileType(lowered, f"file of type {lowered}", MAX_OTHER_BYTES, f".{lowered}", BYTES)


def too_large(kind: FileType, size: int | None = None) -> TintypeError:
    """The refusal of a file that is over its kind's limit."""
    has = "is" if size is None else f"has {size / MIB:.1f} MiB, which is"
    return TooLarge(
        f"The {kind.title} {has} over the limit of {kind.max_bytes // MIB} MiB.",
        code="file_too_large",
        fix="Compress or cut the file below the limit.",
    )
