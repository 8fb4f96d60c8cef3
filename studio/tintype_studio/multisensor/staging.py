"""Files on their way into samples: checked as their type asks, and stored, before any row names them."""

from __future__ import annotations

from dataclasses import dataclass

from tintype_studio.catalog.ingest import Ingest
from tintype_studio.errors import InvalidInput
from tintype_studio.media.formats import SUPPORTED_EXTENSIONS
from tintype_studio.multisensor.file_types import (
    IMAGE,
    LIDAR_DEPTH,
    LIDAR_PCD,
    LIDAR_REFLECT,
    RADAR_CUBE,
    RADAR_PCD,
    FileType,
    file_type,
    too_large,
)
from tintype_studio.multisensor.samples import StoredFile
from tintype_studio.names import clean_name
from tintype_studio.storage.blobs import Blobs


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that was checked and stored, and that no row names yet."""

    file: StoredFile
    width: int | None = None
    """Of the upright picture, in pixels."""
    height: int | None = None


def clean_file_name(filename: str) -> str:
    """A file's name as it is kept: without the folders that clients put in front of it."""
    return clean_name(filename.replace("\\", "/").rpartition("/")[2], "File name", max_length=255)


def require_picture_name(filename: str) -> None:
    """``UnsupportedFormat`` for the name of a picture whose extension is that of none."""
    from tintype_studio.media.formats import require_supported_extension

    require_supported_extension(filename)


def stage(ingest: Ingest, blobs: Blobs, data: bytes, type_name: str, filename: str) -> Staged:
    """Check a file and store its bytes.

    Raises ``InvalidInput`` for a file that is not what its type says, ``TooLarge`` over the type's limit.
    """
    kind, name = file_type(type_name), clean_file_name(filename)
    if len(data) > kind.max_bytes:
        raise too_large(kind, len(data))
    if kind.name == IMAGE:
        image = ingest.stage(data, name)
        file = StoredFile(IMAGE, image.filename, image.sha256, image.size, image.mime_type)
        return Staged(file, image.width, image.height)
    media_type = check(kind, data, name)
    return Staged(StoredFile(kind.name, name, blobs.put(data), len(data), media_type))


def check(kind: FileType, data: bytes, filename: str) -> str:
    """Judge a file that is not the picture of its sample; returns its media type."""
    if not data:
        raise InvalidInput(
            f"The {kind.title} is empty (0 bytes).", code="empty_file", fix="Send the file with its bytes."
        )
    if kind.name in {LIDAR_PCD, RADAR_PCD}:
        from tintype_studio.multisensor import pcd

        pcd.check(data)
    elif kind.name == RADAR_CUBE:
        from tintype_studio.multisensor import radar

        radar.check(data)
    elif kind.name in {LIDAR_DEPTH, LIDAR_REFLECT}:
        from tintype_studio.media.inspect import inspect_image

        known = filename.rpartition(".")[2].lower() in SUPPORTED_EXTENSIONS
        return inspect_image(data, filename if known else "picture.png").mime_type
    return kind.media_type
