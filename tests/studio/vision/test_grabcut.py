"""Box prompts on generated scenes with known truth: quality, determinism, holes, negatives, bad boxes."""

import importlib.util
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from tintype_studio.errors import InvalidImage, InvalidInput
from tintype_studio.vision.grabcut import GrabCutSegmenter
from tintype_studio.vision.protocols import Box, PromptSegmenter, Segment

SCENES = Path(__file__).parents[3] / "benchmarks" / "scenes.py"


@pytest.fixture(scope="module")
def scenes():
    spec = importlib.util.spec_from_file_location("tintype_benchmark_scenes", SCENES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def segmenter():
    return GrabCutSegmenter()


@pytest.fixture
def meadow():
    """A red disc with a hole and, apart from it, a blue square, on noisy green; with the disc's truth."""
    rng = np.random.default_rng(7)
    image = np.full((240, 320, 3), (70, 140, 60), np.float64)
    disc = np.zeros((240, 320), np.uint8)
    cv2.circle(disc, (110, 120), 60, 1, -1)
    cv2.circle(disc, (110, 120), 22, 0, -1)
    image[disc > 0] = (190, 50, 40)
    image[90:150, 220:280] = (40, 60, 200)
    image += rng.normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), disc > 0


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_it_is_a_prompt_segmenter(segmenter):
    assert isinstance(segmenter, PromptSegmenter)
    assert segmenter.name == "grabcut"


def test_quality_and_score_on_a_fixed_set_of_scenes(scenes, segmenter):
    rng = np.random.default_rng(3)
    overlaps, scores, boxes = [], [], []
    for scene in scenes.scenes(500, objects=30):
        height, width = scene.image.shape[:2]
        for item in scene.objects:
            box = Box(*scenes.jittered_box(rng, item.box))
            segment = segmenter.segment_box(scene.image, box)
            assert segment is not None
            overlaps.append(iou(segment.on_canvas(width, height), item.mask))
            scores.append(segment.score)
            x, y, w, h = (round(value) for value in (box.x, box.y, box.w, box.h))
            filled = np.zeros((height, width), bool)
            filled[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = True
            boxes.append(iou(filled, item.mask))
    assert np.mean(overlaps) >= 0.8
    assert np.mean(overlaps) >= np.mean(boxes) + 0.2
    assert np.mean(np.abs(np.array(scores) - overlaps)) < 0.12
    assert abs(np.mean(scores) - np.mean(overlaps)) < 0.06


def test_hole_is_kept_and_mask_covers_only_the_object(meadow, segmenter):
    image, truth = meadow
    segment = segmenter.segment_box(image, Box(48, 58, 124, 124))
    assert isinstance(segment, Segment)
    assert segment.mask.dtype == np.bool_
    assert segment.mask.shape < image.shape[:2]
    canvas = segment.on_canvas(320, 240)
    assert not canvas[120, 110]
    assert iou(canvas, truth) > 0.95
    assert 0.85 < segment.score <= 1
    for side in (segment.mask[0], segment.mask[-1], segment.mask[:, 0], segment.mask[:, -1]):
        assert side.any()


def test_mask_stays_within_the_box_and_its_slack(meadow, segmenter):
    image, _ = meadow
    canvas = segmenter.segment_box(image, Box(60, 70, 100, 100)).on_canvas(320, 240)
    canvas[67:173, 57:163] = False
    assert not canvas.any()


def test_same_answer_every_time_and_in_every_thread(scenes, segmenter):
    asked = [
        (scene.image, Box(*item.box)) for scene in scenes.scenes(40, objects=8) for item in scene.objects
    ]
    alone = [segmenter.segment_box(image, box) for image, box in asked]
    cv2.setRNGSeed(99)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: segmenter.segment_box(*pair), asked * 2))
    for one, other in zip(alone * 2, together, strict=True):
        assert one.offset == other.offset
        assert one.score == other.score
        assert np.array_equal(one.mask, other.mask)


def test_the_image_is_not_changed_and_may_be_read_only(meadow, segmenter):
    image, _ = meadow
    before = image.copy()
    image.flags.writeable = False
    assert segmenter.segment_box(image, Box(48, 58, 124, 124)) is not None
    assert np.array_equal(image, before)


def test_nothing_in_a_negative_box_belongs_to_the_object(meadow, segmenter):
    image, _ = meadow
    both = Box(46, 56, 238, 128)
    without = segmenter.segment_box(image, both).on_canvas(320, 240)
    assert without[90:150, 220:280].mean() > 0.9
    segment = segmenter.segment_box(image, both, [Box(215, 85, 70, 70), Box(5000, 5000, 10, 10)])
    canvas = segment.on_canvas(320, 240)
    assert not canvas[85:155, 215:285].any()
    assert canvas[120, 60]


def test_negative_boxes_over_the_whole_box_leave_nothing(meadow, segmenter):
    image, _ = meadow
    assert segmenter.segment_box(image, Box(48, 58, 124, 124), [Box(0, 0, 320, 240)]) is None


def test_box_partly_outside_is_clipped(meadow, segmenter):
    image, truth = meadow
    cut = image[:, 80:]
    segment = segmenter.segment_box(cut, Box(-32, 58, 124, 124))
    assert segment.offset[0] >= 0
    assert iou(segment.on_canvas(240, 240), truth[:, 80:]) > 0.9


def test_box_over_the_whole_image(meadow, segmenter):
    image, truth = meadow
    close = image[56:184, 46:174]
    close = np.ascontiguousarray(close)
    close.flags.writeable = False
    segment = segmenter.segment_box(close, Box(0, 0, 128, 128))
    assert segment is not None
    assert iou(segment.on_canvas(128, 128), truth[56:184, 46:174]) > 0.6


def test_long_thin_object(segmenter):
    rng = np.random.default_rng(1)
    image = np.clip(rng.normal(120, 6, (300, 900, 3)), 0, 255)
    image[140:156, 40:860] = np.array((200, 180, 30)) + rng.normal(0, 6, (16, 820, 3))
    image = np.clip(image, 0, 255).astype(np.uint8)
    truth = np.zeros((300, 900), bool)
    truth[140:156, 40:860] = True
    segment = segmenter.segment_box(image, Box(38, 137, 824, 22))
    assert iou(segment.on_canvas(900, 300), truth) > 0.85


def test_large_photograph_is_solved_on_a_small_window(segmenter):
    rng = np.random.default_rng(2)
    image = np.full((2400, 3200, 3), 90, np.uint8)
    disc = cv2.circle(np.zeros((2400, 3200), np.uint8), (1500, 1200), 900, 1, -1) > 0
    image[disc] = (180, 120, 60)
    image = cv2.add(image, rng.integers(0, 12, image.shape, dtype=np.uint8))
    segment = segmenter.segment_box(image, Box(590, 290, 1820, 1820))
    assert iou(segment.on_canvas(3200, 2400), disc) > 0.98


def test_plain_picture_gives_no_confident_object(segmenter):
    image = np.full((200, 200, 3), 128, np.uint8)
    segment = segmenter.segment_box(image, Box(50, 50, 80, 80))
    assert segment is None or segment.score < 0.5


def test_box_of_a_few_pixels_holds_no_object(meadow, segmenter):
    image, _ = meadow
    assert segmenter.segment_box(image, Box(10, 10, 2, 30)) is None


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (Box(10, 10, 0, 20), "empty"),
        (Box(10, 10, 20, -5), "empty"),
        (Box(400, 10, 20, 20), "outside"),
        (Box(-50, 10, 50, 20), "outside"),
        (Box(10, math.nan, 20, 20), "finite"),
        (Box(10, 10, math.inf, 20), "finite"),
    ],
)
def test_bad_boxes_are_refused(meadow, segmenter, box, message):
    with pytest.raises(InvalidInput, match=message):
        segmenter.segment_box(meadow[0], box)


@pytest.mark.parametrize("negative", [Box(10, 10, 0, 20), Box(10, math.nan, 20, 20), Box(0, 0, math.inf, 5)])
def test_bad_negative_boxes_are_refused(meadow, segmenter, negative):
    with pytest.raises(InvalidInput):
        segmenter.segment_box(meadow[0], Box(48, 58, 124, 124), [negative])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        [[0]],
    ],
)
def test_bad_images_are_refused(segmenter, image):
    with pytest.raises(InvalidImage):
        segmenter.segment_box(image, Box(1, 1, 5, 5))


def test_protocols_load_no_heavy_library():
    code = (
        "import sys, tintype_studio.vision.protocols;"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'cv2', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
