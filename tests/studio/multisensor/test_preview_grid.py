"""The grid of samples to look at: pictures with what is marked, clouds from above, cubes, and holes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.multisensor.new_sample import NewSample
from tintype_studio.multisensor.pcd import pcd_of
from tintype_studio.multisensor.preview_grid import MOST_TILES, preview_grid
from tintype_studio.multisensor.radar import cube_png

BOX = {"id": "1", "name": "car", "type": "bbox", "bounding_box": {"x": 100, "y": 50, "w": 200, "h": 100}}
SPACE = {"id": "1", "name": "car", "type": "box3d", "box3d": {"x": 5, "y": 0, "z": 0, "w": 2, "h": 2, "l": 4}}


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (480, 240), (90, 90, 90)).save(out, "PNG")
    return out.getvalue()


def files() -> dict[str, tuple[str, bytes]]:
    line = np.linspace(1, 30, 500, dtype=np.float32)
    cube = np.random.default_rng(0).normal(0, 99, (2, 4, 20, 16)) + 0j
    return {
        "seen": ("image", picture()),
        "cloud": ("lidar.pcd", pcd_of({"x": line, "y": line / 3, "z": line / 9})),
        "cube": ("radar.png", cube_png(cube)),
        "odd": ("radar.png", cube_png(cube[:1, :3])),
        "depth": ("lidar.depth", picture()),
    }


@pytest.fixture
def page(studio, owner, dataset):
    """One sample of each kind, and one with nothing."""
    studio.classes.declare(owner, dataset.name, [])
    news = [NewSample(image_name="nothing")]
    for name, (kind, data) in files().items():
        marked = [SPACE] if name == "cloud" else [BOX, {"id": "2", "name": "rain", "type": "tag"}]
        staged = studio.population.stage(
            data, kind, f"{name}.{kind.rsplit('.')[-1] if kind != 'image' else 'png'}"
        )
        annotations = ANNOTATIONS.validate_python(marked) if name in {"seen", "cloud"} else ()
        size = {"width": 480, "height": 240} if name == "seen" else {}
        news.append(NewSample(image_name=name, files=[staged], annotations=annotations, **size))
    studio.population.populate(owner, dataset, news, learn=True)
    return studio.multisensor.page(dataset)


def test_every_sample_has_a_tile_and_every_sensor_is_seen(studio, page):
    made = preview_grid(page, (), pictures=studio.samples, blobs=studio.blobs)
    assert made is not None
    data, width, height = made
    sheet = Image.open(io.BytesIO(data))
    assert (sheet.format, sheet.size) == ("JPEG", (width, height))
    pixels = np.asarray(sheet).astype(int)
    tile, gap = 240, 8
    colors = [pixels[gap : gap + tile, gap + n * (tile + gap) :][:, :tile].std() for n in range(5)]
    names = [sample.filename for sample in page]
    dull = dict(zip(names, colors, strict=False))
    assert dull["nothing"] < 8  # only a frame
    assert all(dull[name] > 8 for name in names[1:4] if name != "odd"), dull


def test_boxes_lie_where_they_are_on_the_small_picture(studio, page):
    (seen,) = [sample for sample in page if sample.filename == "seen"]
    made = preview_grid([seen], (), pictures=studio.samples, blobs=studio.blobs)
    assert made is not None
    pixels = np.asarray(Image.open(io.BytesIO(made[0]))).astype(int)
    colorful = pixels.max(axis=2) - pixels.min(axis=2) > 60
    rows, columns = np.nonzero(colorful[8 : 8 + 120])
    # The picture is half as large: the box goes from 50 to 150 and from 25 to 75, its tag above it.
    assert columns.min() == pytest.approx(8 + 50, abs=3)
    assert columns.max() == pytest.approx(8 + 150, abs=3)
    assert rows.max() == pytest.approx(75, abs=3)


def test_no_more_than_can_be_seen_and_nothing_of_nothing(studio, page):
    assert preview_grid([], (), pictures=studio.samples, blobs=studio.blobs) is None
    made = preview_grid(page[:1] * 50, (), pictures=studio.samples, blobs=studio.blobs)
    assert made is not None
    rows = -(-MOST_TILES // 5)
    assert made[2] < rows * (240 + 8 + 30)
