"""Random views: boxes, outlines and pixels move together, whatever the view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.trainable import export, order, squares

from tintype_studio.formats.shapes import run_lengths
from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train.augment import (
    LEAST_SEEN,
    Augmenter,
    clip_ring,
    jittered,
    moved,
    rasterize,
)
from tintype_studio.vision.train.batches import LEAST_IMAGES, Batches
from tintype_studio.vision.train.prepare import prepare_data
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.protocol import Target

SIZE = 96


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("views")
    pictures = [squares(seed, outlined=True, split="train" if seed else "val") for seed in range(16)]
    return prepare_data(order(folder, export(folder, pictures), "detectron2", image_size=SIZE))


def coloured(image: np.ndarray, label: int) -> np.ndarray:
    """Where a picture has the colour of a class; grey noise and other hues do not."""
    channels = image.astype(int)
    return channels[..., (0, 2)[label]] - np.delete(channels, (0, 2)[label], axis=2).max(axis=2) > 40


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_what_is_told_lies_where_its_colour_is(data: PreparedData, mosaic: float) -> None:
    rng = np.random.default_rng(0)
    augmenter = Augmenter(data, Task.INSTANCES, mosaic=mosaic)
    told = 0
    for index in data.splits["train"] * 6:
        image, target = augmenter.view(index, rng)
        assert image.shape == (SIZE, SIZE, 3)
        assert len(target.boxes) == len(target.labels) == len(target.polygons)
        assert (target.boxes >= 0).all()
        assert (target.boxes <= SIZE).all()
        assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
        masks = rasterize(target, SIZE).astype(bool)
        for box, label, mask in zip(target.boxes, target.labels, masks, strict=True):
            rows, columns = np.nonzero(mask)
            edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            np.testing.assert_allclose(edges, box, atol=1.01)
            assert coloured(image, int(label))[mask].mean() > 0.85
            told += 1
        # And nothing large is left untold.
        for label in (0, 1):
            seen = coloured(image, label)
            mine = masks[target.labels == label].any(axis=0) if (target.labels == label).any() else 0 * seen
            assert (seen & ~mine.astype(bool)).sum() < 0.12 * SIZE * SIZE
    assert told > 60


def test_a_view_is_a_function_of_its_random_numbers(data: PreparedData) -> None:
    augmenter = Augmenter(data, Task.DETECTION)
    one, two = (augmenter.view(3, np.random.default_rng(5)) for _ in range(2))
    assert (one[0] == two[0]).all()
    assert (one[1].boxes == two[1].boxes).all()
    assert (augmenter.view(3, np.random.default_rng(6))[0] != one[0]).any()


def test_mirroring_can_be_turned_off(data: PreparedData) -> None:
    augmenter = Augmenter(data, Task.DETECTION, flip=False, mosaic=0.0)
    index = next(i for i in data.splits["train"] if len(data.target(i).labels) == 2)
    left_first = data.target(index).boxes[:, 0].argsort().tolist()
    for seed in range(20):
        _, target = augmenter.view(index, np.random.default_rng(seed))
        if len(target.labels) == 2:
            assert target.boxes[:, 0].argsort().tolist() == left_first


def test_classes_of_whole_images_stay(data: PreparedData) -> None:
    target = Target(np.zeros((0, 4), np.float32), np.array([1, 0]))
    assert moved(target, (2.0, 2.0), (5.0, 5.0), (0, 0, 9, 9)).labels.tolist() == [1, 0]


def test_of_an_object_enough_must_be_seen() -> None:
    target = Target(np.array([[0, 0, 10, 10]], np.float32), np.array([0]))
    assert len(moved(target, (1, 1), (-10 * (1 - LEAST_SEEN) + 0.1, 0), (0, 0, 50, 50)).labels) == 1
    assert len(moved(target, (1, 1), (-10 * (1 - LEAST_SEEN) - 0.1, 0), (0, 0, 50, 50)).labels) == 0


def test_mirrored_boxes_keep_their_corners_in_order() -> None:
    target = Target(np.array([[10, 20, 30, 50]], np.float32), np.array([0]))
    (box,) = moved(target, (-1, 1), (100, 0), (0, 0, 100, 100)).boxes.tolist()
    assert box == [70, 20, 90, 50]


def test_rings_are_cut_at_the_edge() -> None:
    ring = np.array([(-10, -10), (30, -10), (30, 30), (-10, 30)], np.float32)
    cut = clip_ring(ring, (0, 0, 20, 25))
    assert sorted(map(tuple, cut.tolist())) == [(0, 0), (0, 25), (20, 0), (20, 25)]
    assert len(clip_ring(ring + 100, (0, 0, 20, 25))) == 0


def test_masks_are_those_of_the_exports(data: PreparedData) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        rings = [rng.uniform(-20, 84, (int(rng.integers(3, 9)), 2)).astype(np.float32) for _ in range(2)]
        target = Target(np.zeros((1, 4), np.float32), np.zeros(1, np.int64), [rings])
        runs = run_lengths([(r[:, 0].tolist(), r[:, 1].tolist()) for r in rings], 64, 64)
        expected = np.repeat(np.arange(len(runs)) % 2, runs).reshape(64, 64).T
        assert (rasterize(target, 64)[0] == expected).all()


def test_colours_change_but_shapes_do_not() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = (180, 60, 60)
    rng = np.random.default_rng(1)
    seen = {tuple(jittered(image, rng)[0, 7].tolist()) for _ in range(10)}
    assert len(seen) > 5
    assert all(red > green for red, green, _ in seen)
    assert (jittered(image, rng)[:, :4] == 0).all()


def test_batches_are_the_same_however_they_are_cut_short(data: PreparedData, tmp_path: Path) -> None:
    config = order(tmp_path, "0" * 64, "detectron2", batch_size=4, seed=3).config
    batches = Batches(data, Task.INSTANCES, config, epoch=2)
    assert len(batches.order()) >= LEAST_IMAGES
    assert set(batches.order()) == set(data.splits["train"])
    whole = list(batches.run(4, 1.0))
    rest = list(batches.run(4, 1.0, 8, makers=3))
    assert len(whole) == len(rest) + 2
    assert all((a[0] == b[0]).all() for a, b in zip(whole[2:], rest, strict=True))
    assert Batches(data, Task.INSTANCES, config, epoch=3).order() != batches.order()


def test_leaving_early_stops_the_thread(data: PreparedData, tmp_path: Path) -> None:
    import threading

    before = threading.active_count()
    stream = Batches(data, Task.DETECTION, order(tmp_path, "0" * 64).config, epoch=1).run(8, 1.0)
    next(stream)
    stream.close()
    assert threading.active_count() == before
