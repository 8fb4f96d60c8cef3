"""The detector that a dataset's annotations teach: finds, calibrates, repeats itself, survives storage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.drawings import CLASSES

from tintype_studio.errors import Cancelled, InvalidImage
from tintype_studio.vision.detect.boxes import overlaps
from tintype_studio.vision.detect.learning import average_precision, from_bytes, learn, to_bytes
from tintype_studio.vision.detect.own import Effort, fit
from tintype_studio.vision.detect.protocol import Detector
from tintype_studio.vision.detect.views import LabelledImage


def corners(detection):
    box = detection.box
    return np.array([[box.x, box.y, box.x + box.w, box.y + box.h]])


def test_it_is_a_detector(detector):
    assert isinstance(detector, Detector)
    assert detector.name == "own-detector"


def test_it_finds_what_six_pictures_taught(detector, drawn):
    right = wrong = 0
    for seed in range(100, 115):
        picture = drawn(seed)
        found = detector.detect(picture.image, CLASSES, threshold=0.5, max_detections=10)
        for detection in found:
            truth = picture.boxes[[CLASSES.index(detection.name)]]
            fits = overlaps(corners(detection), truth)[0, 0] >= 0.5
            right, wrong = right + fits, wrong + (not fits)
    assert right >= 27, "of 30 objects"
    assert wrong <= 2


def test_scores_are_chances(detector, drawn):
    scored = []
    for seed in range(200, 215):
        picture = drawn(seed)
        for detection in detector.detect(picture.image, CLASSES, threshold=0.05, max_detections=50):
            truth = picture.boxes[[CLASSES.index(detection.name)]]
            scored.append((detection.score, overlaps(corners(detection), truth)[0, 0] >= 0.5))
    sure = [(score, right) for score, right in scored if score >= 0.7]
    doubtful = [(score, right) for score, right in scored if score < 0.3]
    assert len(sure) >= 15
    for group in (sure, doubtful):
        claimed, true = np.mean(group, axis=0) if group else (0.0, 0.0)
        # Six pictures say how sure one may be only roughly.
        assert abs(claimed - true) < 0.25


def test_answers_are_sorted_capped_inside_and_of_the_wanted_class(detector, drawn):
    picture = drawn(300)
    everything = detector.detect(picture.image, CLASSES, threshold=0.0, max_detections=100)
    assert [d.score for d in everything] == sorted((d.score for d in everything), reverse=True)
    height, width = picture.image.shape[:2]
    for detection in everything:
        box = detection.box
        assert box.w > 0
        assert box.h > 0
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.w <= width + 0.1
        assert box.y + box.h <= height + 0.1
    assert detector.detect(picture.image, CLASSES, threshold=0.0, max_detections=1) == everything[:1]
    crates = detector.detect(picture.image, ["crate", "unheard-of"], threshold=0.5, max_detections=10)
    assert {d.name for d in crates} == {"crate"}


def test_boxes_are_in_pixels_of_a_large_image(detector, drawn):
    import cv2

    picture = drawn(301)
    large = cv2.resize(picture.image, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    found = detector.detect(large, CLASSES, threshold=0.5, max_detections=10)
    for index, name in enumerate(CLASSES):
        best = next(d for d in found if d.name == name)
        assert overlaps(corners(best), picture.boxes[[index]] * 8)[0, 0] > 0.6


def test_nothing_is_found_on_an_empty_wall(detector):
    wall = np.full((200, 240, 3), 128, np.uint8)
    assert detector.detect(wall, CLASSES, threshold=0.5, max_detections=10) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3), (12, 12)])
def test_tiny_and_thin_images_have_no_objects(detector, shape):
    image = np.zeros((*shape, 3), np.uint8)
    assert detector.detect(image, CLASSES, threshold=0.5, max_detections=10) == []


@pytest.mark.parametrize(
    "image",
    [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 4), np.uint8), np.zeros((20, 20, 3), np.float32)],
)
def test_arrays_that_are_no_rgb_image_are_refused(detector, image):
    with pytest.raises(InvalidImage):
        detector.detect(image, CLASSES, threshold=0.5, max_detections=10)


def test_the_same_lesson_makes_the_same_detector(drawn):
    """Up to the last digits of single precision, which differ with the place of an array in memory."""
    lesson = [drawn(seed).labelled() for seed in range(4)]
    first, second = (fit(lesson, CLASSES, effort=Effort(8, 4, 6, 600)) for _ in range(2))
    assert first.shapes.sizes == second.shapes.sizes
    boxes, labels, _ = first.look(lesson[0].image)
    others, same, _ = second.look(lesson[0].image)
    assert labels[:2].tolist() == same[:2].tolist()
    assert overlaps(boxes[:2], others[:2]).diagonal().min() > 0.85


def test_what_is_kept_finds_the_same(detector, drawn):
    data = to_bytes(detector)
    assert len(data) < 1_500_000
    kept = from_bytes(data)
    picture = drawn(303)
    wanted = {"threshold": 0.05, "max_detections": 20}
    assert kept.detect(picture.image, CLASSES, **wanted) == detector.detect(picture.image, CLASSES, **wanted)
    assert kept.calibration == detector.calibration


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_damaged_bytes_are_no_detector(data):
    assert from_bytes(data) is None


def test_reports_say_how_well_each_class_was_found(detector):
    for report in detector.calibration.reports:
        assert report.judged == 6
        assert report.average_precision > 0.5


def test_unknown_things_are_neither_taught_nor_background(drawn):
    pictures = [drawn(seed) for seed in range(6)]
    only_badges = [LabelledImage(p.image, p.boxes[:1], p.labels[:1], unknown=p.boxes[1:]) for p in pictures]
    badges = fit(only_badges, CLASSES[:1], effort=Effort(24, 16, 10, 1200))
    picture = drawn(304)
    found = badges.detect(picture.image, ["badge"], threshold=0.5, max_detections=5)
    assert overlaps(corners(found[0]), picture.boxes[:1])[0, 0] > 0.5


def test_one_labelled_image_is_enough_to_try(drawn):
    detector = learn([drawn(0).labelled()], CLASSES)
    assert [r.judged for r in detector.calibration.reports] == [0, 0]
    detector.detect(drawn(1).image, CLASSES, threshold=0.5, max_detections=5)


def test_learning_stops_when_asked(taught):
    def stop() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        learn(taught, CLASSES, check=stop)


def test_average_precision_by_hand():
    assert average_precision([True, True], 2) == 1.0
    assert average_precision([], 2) == 0.0
    assert average_precision([True], 2) == pytest.approx(51 / 101, abs=1e-4)
    assert average_precision([False, True], 1) == 0.5


LEARNS = """
import hashlib
from support.drawings import CLASSES, draw
from tintype_studio.vision.detect.own import Effort, fit
found = fit([draw(seed).labelled() for seed in range(4)], CLASSES, effort=Effort(8, 4, 2, 400))
weights = [array.tobytes() for stage in (found.coarse, found.fine) for array in (stage.first, stage.second)]
print(hashlib.sha256(b"".join(weights)).hexdigest())
"""


def test_two_processes_learn_the_same_to_the_last_digit():
    """Arrays lie elsewhere in memory each time, yet a lesson's digest stands for its detector."""
    tests = Path(__file__).parents[3]
    learned = {
        subprocess.run(
            [sys.executable, "-c", LEARNS],
            cwd=tests,
            env={**os.environ, "PYTHONPATH": str(tests)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(3)
    }
    assert len(learned) == 1
    assert len(learned.pop().strip()) == 64
