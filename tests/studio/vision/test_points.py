"""Point prompts without weights: what is asked is obeyed, on pictures of any kind; quality; honest scores."""

import importlib.util
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.errors import InvalidImage, InvalidInput
from tintype_studio.vision.grabcut import GrabCutSegmenter
from tintype_studio.vision.protocols import DIFFERENT, Point

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def scenes():
    spec = importlib.util.spec_from_file_location("tintype_point_scenes", BENCHMARKS / "scenes.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def segmenter():
    return GrabCutSegmenter()


def painted(height, width, *discs, seed=0, noise=5):
    """Discs ``(x, y, radius, colour)`` on noisy green."""
    image = np.full((height, width, 3), (80, 130, 70), np.float64)
    for x, y, radius, colour in discs:
        image[disc(height, width, x, y, radius)] = colour
    image += np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def disc(height, width, x, y, radius):
    return cv2.circle(np.zeros((height, width), np.uint8), (x, y), radius, 1, -1) > 0


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def canvas(segment, image):
    return segment.on_canvas(image.shape[1], image.shape[0])


def deepest(mask):
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Point(x + 0.5, y + 0.5), float(depth.max())


def test_quality_grows_with_clicks_and_the_score_follows(scenes, segmenter):
    reached = {1: [], 2: [], 3: []}
    scores = []
    for scene in scenes.scenes(900, objects=16):
        for item in scene.objects:
            positives, negatives = [deepest(item.mask)[0]], []
            for overlaps in reached.values():
                best = segmenter.segment_points(scene.image, positives, negatives)[0]
                mask = canvas(best, scene.image)
                overlaps.append(iou(mask, item.mask))
                scores.append((best.score, overlaps[-1]))
                (missing, deep), (surplus, wide) = deepest(item.mask & ~mask), deepest(mask & ~item.mask)
                if max(deep, wide) == 0:
                    break
                (positives if deep >= wide else negatives).append(missing if deep >= wide else surplus)
    assert np.mean(reached[1]) > 0.6
    assert np.mean(reached[3]) > 0.75
    score, truth = np.array(scores).T
    assert abs(score.mean() - truth.mean()) < 0.08
    assert np.abs(score - truth).mean() < 0.2


def test_a_plain_object_is_found_whole(segmenter):
    image = painted(240, 320, (150, 120, 50, (200, 60, 40)))
    best = segmenter.segment_points(image, [Point(140.5, 110.5)])[0]
    assert iou(canvas(best, image), disc(240, 320, 150, 120, 50)) > 0.95
    for side in (best.mask[0], best.mask[-1], best.mask[:, 0], best.mask[:, -1]):
        assert side.any()


def test_a_hole_is_kept(segmenter):
    image = painted(240, 320, (150, 120, 70, (200, 60, 40)), (150, 120, 30, (80, 130, 70)))
    best = segmenter.segment_points(image, [Point(150.5, 70.5)], [Point(150.5, 120.5)])[0]
    ring = disc(240, 320, 150, 120, 70) & ~disc(240, 320, 150, 120, 30)
    assert iou(canvas(best, image), ring) > 0.9


def test_an_ambiguous_scale_lowers_the_score_and_offers_the_other_readings(segmenter):
    radii = (18, 45, 90)
    colours = [(220, 200, 40), (200, 50, 40), (40, 60, 190)]
    plain = painted(260, 260, (130, 130, 45, colours[1]))
    rings = painted(260, 260, *[(130, 130, r, c) for r, c in zip(radii[::-1], colours[::-1], strict=True)])
    sure = segmenter.segment_points(plain, [Point(130.5, 130.5)])[0]
    unsure = segmenter.segment_points(rings, [Point(130.5, 130.5)])
    assert unsure[0].score < sure.score - 0.1
    assert len(unsure) > 1
    masks = [canvas(segment, rings) for segment in unsure]
    wanted = [disc(260, 260, 130, 130, radius) for radius in radii]
    assert sum(max(iou(mask, want) for mask in masks) > 0.85 for want in wanted) >= 2
    settled = segmenter.segment_points(rings, [Point(130.5, 130.5), Point(130.5, 95.5)], [Point(130.5, 50.5)])
    assert iou(canvas(settled[0], rings), wanted[1]) > 0.9


def test_answers_differ_clearly(segmenter, scenes):
    for scene in scenes.scenes(300, objects=4):
        for item in scene.objects:
            segments = segmenter.segment_points(scene.image, [deepest(item.mask)[0]])
            masks = [canvas(segment, scene.image) for segment in segments]
            assert len(masks) <= 3
            for i, mask in enumerate(masks):
                assert all(iou(mask, other) < DIFFERENT + 0.15 for other in masks[:i])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_clicks_are_obeyed_on_any_picture(data):
    height, width = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    kind = data.draw(st.sampled_from(["noise", "blobs", "plain"]))
    if kind == "noise":
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    elif kind == "plain":
        image = np.full((height, width, 3), int(rng.integers(0, 255)), np.uint8)
    else:
        small = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = [(x, y) for x in range(width) for y in range(height)]
    chosen = data.draw(st.lists(st.sampled_from(pixels), min_size=1, max_size=6, unique=True))
    cut = data.draw(st.integers(1, len(chosen)))
    positives = [Point(x + 0.5, y + 0.5) for x, y in chosen[:cut]]
    negatives = [Point(x + 0.25, y + 0.75) for x, y in chosen[cut:]]
    segments = GrabCutSegmenter().segment_points(image, positives, negatives)
    assert segments
    for segment in segments:
        assert 0 <= segment.score <= 1
        mask = canvas(segment, image)
        assert all(mask[y, x] for x, y in chosen[:cut])
        assert not any(mask[y, x] for x, y in chosen[cut:])


def test_tiny_object_in_a_large_picture(segmenter):
    image = painted(1500, 2000, (900, 700, 7, (220, 60, 40)))
    best = segmenter.segment_points(image, [Point(900.5, 700.5)])[0]
    assert iou(canvas(best, image), disc(1500, 2000, 900, 700, 7)) > 0.8


@pytest.mark.parametrize(("x", "y"), [(0, 100), (319, 120), (160, 0), (3, 239)])
def test_point_on_the_border(segmenter, x, y):
    image = painted(240, 320, (x, y, 40, (210, 70, 40)))
    best = segmenter.segment_points(image, [Point(x + 0.5, y + 0.5)])[0]
    assert iou(canvas(best, image), disc(240, 320, x, y, 40)) > 0.85


def test_grey_picture(segmenter):
    grey = painted(200, 200, (90, 100, 40, (220, 220, 220)))[..., :1].repeat(3, axis=2)
    best = segmenter.segment_points(grey, [Point(90.5, 100.5)])[0]
    assert iou(canvas(best, grey), disc(200, 200, 90, 100, 40)) > 0.9


def test_a_picture_of_8k_takes_little_longer(segmenter):
    small = painted(540, 960, (400, 300, 120, (200, 60, 40)))
    large = cv2.resize(small, (7680, 4320), interpolation=cv2.INTER_NEAREST)
    start = time.perf_counter()
    segmenter.segment_points(small, [Point(400.5, 300.5)])
    middle = time.perf_counter()
    best = segmenter.segment_points(large, [Point(3200.5, 2400.5)])[0]
    end = time.perf_counter()
    assert iou(canvas(best, large), disc(4320, 7680, 3200, 2400, 960)) > 0.97
    assert end - middle < 1.5 + 8 * (middle - start)


def test_same_answer_every_time_and_in_every_thread(segmenter):
    image = painted(200, 260, (100, 90, 40, (200, 60, 40)), (180, 120, 30, (60, 60, 200)))
    image.flags.writeable = False
    points = [Point(100.5, 90.5), Point(180.5, 120.5), Point(20.5, 20.5)]
    alone = [segmenter.segment_points(image, [point]) for point in points]
    cv2.setRNGSeed(3)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda point: segmenter.segment_points(image, [point]), points))
    for one, other in zip(alone, together, strict=True):
        assert [s.score for s in one] == [s.score for s in other]
        assert all(np.array_equal(a.mask, b.mask) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("positives", "negatives", "message"),
    [
        ([], [], "no positive"),
        ([Point(320, 10)], [], "outside"),
        ([Point(10, -0.1)], [], "outside"),
        ([Point(10, math.nan)], [], "outside"),
        ([Point(10, math.inf)], [], "outside"),
        ([Point(10, 10)], [Point(10, 240)], "outside"),
        ([Point(10.2, 10.2)], [Point(10.9, 10.9)], "at once"),
    ],
)
def test_bad_points_are_refused(segmenter, positives, negatives, message):
    with pytest.raises(InvalidInput, match=message):
        segmenter.segment_points(np.zeros((240, 320, 3), np.uint8), positives, negatives)


@pytest.mark.parametrize(
    "image", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3)), np.zeros((0, 9, 3), np.uint8)]
)
def test_bad_images_are_refused(segmenter, image):
    with pytest.raises(InvalidImage):
        segmenter.segment_points(image, [Point(1, 1)])
