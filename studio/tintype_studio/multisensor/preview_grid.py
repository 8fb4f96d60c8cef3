"""Samples to look at: small, numbered, on one picture, with what is marked in them.

A sample without a picture is shown as its point cloud from above, or else as its radar cube.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.catalog.samples import Samples
from tintype_studio.errors import TintypeError
from tintype_studio.media.budget import keep_going
from tintype_studio.multisensor.file_types import (
    IMAGE,
    LIDAR_DEPTH,
    LIDAR_PCD,
    LIDAR_REFLECT,
    RADAR_CUBE,
    RADAR_PCD,
)
from tintype_studio.multisensor.samples import SensorSample
from tintype_studio.storage.blobs import Blobs

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_TILES = 30
SIDE = 240
"""Pixels of a tile's longer side."""
COLUMNS = 5


def preview_grid(
    samples: Sequence[SensorSample],
    classes: Sequence[DatasetClass],
    *,
    pictures: Samples,
    blobs: Blobs,
    check: Callable[[], None] = keep_going,
) -> tuple[bytes, int, int] | None:
    """A JPEG of the first ``MOST_TILES`` samples, numbered from 1, and its width and height in pixels.

    None without samples. One that cannot be shown has an empty tile.
    """
    from tintype_studio.media.contact_sheet import Tile, contact_sheet

    tiles = []
    for number, sample in enumerate(samples[:MOST_TILES], start=1):
        check()
        try:
            tile = _looks(sample, classes, pictures, blobs)
        except TintypeError:  # the list beside it is still right
            tile = None
        tiles.append(Tile(None if tile is None else _png(tile), _caption(number, sample)))
    if not tiles:
        return None
    return contact_sheet(tiles, side=SIDE, columns=COLUMNS, high=_height(tiles))


def _caption(number: int, sample: SensorSample) -> str:
    """Such as ``3 · drive_7 #120 (train) rainy``: with the tags, which have no place in the picture."""
    name = sample.filename
    if sample.sequence is not None and sample.frame_number is not None:
        name = f"{sample.sequence.name} #{sample.frame_number}"
    tags = [entry["name"] for entry in sample.entries if entry["type"] == "tag"]
    return " ".join([f"{number} · {name}", *([f"({sample.group})"] if sample.group else []), *tags])


def _height(tiles: Sequence[object]) -> int:
    """Of a tile: as high as the highest picture, so that wide ones leave no holes."""
    from PIL import Image

    from tintype_studio.media.contact_sheet import Tile

    highest = 1
    for tile in tiles:
        assert isinstance(tile, Tile)
        if tile.picture is not None:
            with Image.open(io.BytesIO(tile.picture)) as picture:
                highest = max(highest, picture.height)
    return highest if highest > 1 else SIDE


def _looks(
    sample: SensorSample, classes: Sequence[DatasetClass], pictures: Samples, blobs: Blobs
) -> Image | None:
    from PIL import Image

    from tintype_studio.media.decode import fit_size
    from tintype_studio.media.draw import draw_annotations
    from tintype_studio.media.named import named_with_options

    drawn, colors = named_with_options(sample.annotations, classes)
    for kind in (IMAGE, LIDAR_PCD, RADAR_PCD, LIDAR_DEPTH, LIDAR_REFLECT, RADAR_CUBE):
        file = sample.files.get(kind)
        if file is None:
            continue
        if kind in {LIDAR_PCD, RADAR_PCD}:
            from tintype_studio.multisensor.birds_eye import birds_eye
            from tintype_studio.multisensor.pcd import points_of

            return birds_eye(points_of(blobs.get(file.sha256)), drawn, size=SIDE, colors=colors)
        if kind == RADAR_CUBE:
            return _cube(blobs.get(file.sha256))
        with Image.open(io.BytesIO(pictures.thumbnail(file.sha256, SIDE))) as small:
            image = small.convert("RGB")
        image = image.resize(fit_size(image.width, image.height, (SIDE, SIDE)), Image.Resampling.LANCZOS)
        if kind != IMAGE or not sample.width:
            return image
        return draw_annotations(image, drawn, colors=colors, scale=image.width / sample.width)
    return None


def _cube(data: bytes) -> Image | None:
    from tintype_studio.multisensor.birds_eye import range_doppler
    from tintype_studio.multisensor.radar import check, cube_of

    # One that is no grid of 2 x 4 does not say what it is.
    return None if check(data).shape is None else range_doppler(cube_of(data), size=SIDE)


def _png(image: Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
