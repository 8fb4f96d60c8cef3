"""Videos looked at by models: what looking at single frames tells, from good files and from bad ones."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.heads_models import colour_heads
from support.moving import cells_clip
from support.onnx_models import blob_detector, constant_model
from support.videos import clip, overwritten, write

from tintype_studio.errors import InvalidInput, Unavailable, UnsupportedFormat
from tintype_studio.jobs.pool import Pool
from tintype_studio.predictions import detecting
from tintype_studio.predictions.detecting import detect, predict_file, release
from tintype_studio.predictions.looking import Eye
from tintype_studio.predictions.packing import unpack
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.predictions.sight import WordsSight, weak
from tintype_studio.predictions.timeline import timeline
from tintype_studio.storage.blobs import Blobs
from tintype_studio.video.choice import Span, choose
from tintype_studio.video.frames import Reader, frames
from tintype_studio.vision.detect.protocol import Detection
from tintype_studio.vision.infer.model import open_model
from tintype_studio.vision.protocols import Box
from tintype_studio.vision.tasks import Signature, Task

SECOND = 1_000_000
CELLS = Signature(Task.DETECTION, "test", ("red", "blue"), 64, nms_iou=0.5)
RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "blobs")


@pytest.fixture
def eye(url: str) -> Eye:
    return Eye("cells@1", Blobs(url).put(blob_detector(CELLS)))


def two(time: int) -> list[tuple[int, int, tuple[int, int, int]]]:
    """A red cell that is always there, a blue one from 1 to 3 s."""
    return [(0, 1, RED), *([(2, 3, BLUE)] if 1000 <= time < 3000 else [])]


def test_objects_of_a_video(tmp_path: Path, url: str, eye: Eye) -> None:
    path = cells_clip(tmp_path / "a.mp4", range(0, 4000, 100), two)
    told = predict_file(str(path), eye, url, frames_per_second=2)
    assert told.frame_timestamps_us == [n * SECOND // 2 for n in range(8)]
    red, blue = told.objects
    assert [(r.start_us, r.end_us) for r in red.ranges] == [(0, 3_500_000)]
    assert [(r.start_us, r.end_us) for r in blue.ranges] == [(SECOND, 2_500_000)]
    assert red.observations[0].box == pytest.approx((0, 0.25, 0.25, 0.5), abs=0.01)
    assert blue.observations[-1].box == pytest.approx((0.5, 0.75, 0.75, 1), abs=0.01)
    assert [each.categories[0].name for each in told.objects] == ["red", "blue"]
    assert (told.width, told.height, told.model) == (128, 128, "cells@1")


def test_it_is_what_the_model_says_of_each_frame(tmp_path: Path, url: str, eye: Eye) -> None:
    path = cells_clip(tmp_path / "a.mp4", range(0, 4000, 100), two)
    found = unpack(detect(str(path), choose(str(path), Span(5.0)).frames, eye, url, 0.5))
    release()
    model = open_model(Blobs(url), eye.onnx_sha256 or "")
    plain = []
    for seconds, pixels in frames(str(path), Span(5.0)):
        (told,) = model.predict([np.ascontiguousarray(pixels)], threshold=weak(0.5))
        plain.append((round(seconds * SECOND), told.objects))
    assert found.timestamps_us.tolist() == [time for time, _ in plain]
    assert found.counts.tolist() == [len(objects) for _, objects in plain]
    scores = [each.score for _, objects in plain for each in objects]
    assert found.scores.tolist() == pytest.approx(scores, abs=1e-6)
    boxes = np.array([each.box for _, objects in plain for each in objects]) / 128
    assert found.boxes == pytest.approx(boxes, abs=1e-6)


def test_parts_in_a_child_are_the_same_as_all_at_once(tmp_path: Path, url: str, eye: Eye) -> None:
    path = str(cells_clip(tmp_path / "a.mp4", range(0, 4000, 100), two))
    wanted = choose(path, Span(10.0)).frames
    pool = Pool(1)
    try:
        parts = [
            pool.call("tintype_studio.predictions.detecting:detect", path, part, eye, url, 0.5)
            for part in (wanted[:15], wanted[15:16], wanted[16:])
        ]
        told = pool.call("tintype_studio.predictions.timeline:assemble", parts, 10, "cells@1", 0.5)
    finally:
        pool.close()
    assert MediaPrediction.from_json(told) == predict_file(path, eye, url, frames_per_second=10)


def test_a_part_may_be_asked_for_again(tmp_path: Path, url: str, eye: Eye) -> None:
    path = str(cells_clip(tmp_path / "a.mp4", range(0, 2000, 100), two))
    wanted = choose(path, Span(10.0)).frames
    first = detect(path, wanted[:10], eye, url, 0.5)
    detect(path, wanted[10:], eye, url, 0.5)
    assert detect(path, wanted[:10], eye, url, 0.5) == first
    assert detect(path, [], eye, url, 0.5)
    assert unpack(detect(path, wanted[10:], eye, url, 0.5)).counts.sum() == 20
    release()


def test_attributes_are_asked_of_what_is_surely_seen(tmp_path: Path, url: str, eye: Eye) -> None:
    attributes = {"red": {"colour": ["red", "blue"]}}
    heads = Blobs(url).put(colour_heads(attributes))
    path = cells_clip(tmp_path / "a.mp4", range(0, 3000, 100), two)
    told = predict_file(str(path), Eye("cells@1", eye.onnx_sha256, heads), url, frames_per_second=5)
    red, blue = told.objects
    (choice,) = red.categories[0].attributes
    assert (choice.attribute, choice.option) == ("colour", "red")
    assert [(r.start_us, r.end_us) for r in choice.ranges] == [(0, 2_800_000)]
    assert choice.ranges[0].score > 0.9
    assert blue.categories[0].attributes == []


def test_turned_videos_and_uneven_times(tmp_path: Path, url: str, eye: Eye) -> None:
    times = [0, 40, 80, 700, 1400, 1450, 3000]
    path = cells_clip(tmp_path / "a.mp4", times, lambda _: [(0, 1, RED)], rotation=90)
    told = predict_file(str(path), eye, url, frames_per_second=60)
    assert told.frame_timestamps_us == [time * 1000 for time in times]
    (_, pixels), *_ = frames(str(path), Span(60.0))
    spot = np.argwhere((pixels[..., 0] > 180) & (pixels[..., 1] < 90)).mean(axis=0) / 128
    box = told.objects[0].observations[0].box
    assert box is not None
    assert ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2) == pytest.approx(tuple(spot), abs=0.02)


def test_files_that_are_no_good(tmp_path: Path, url: str, eye: Eye) -> None:
    text = tmp_path / "a.mp4"
    text.write_bytes(b"no video at all " * 100)
    with pytest.raises(UnsupportedFormat):
        predict_file(str(text), eye, url)
    whole = clip(tmp_path, "b.mp4")
    cut = tmp_path / "c.mp4"
    cut.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(InvalidInput) as refused:
        predict_file(str(cut), eye, url)
    assert refused.value.code == "damaged_video"
    # Its packets can be read, none of its frames can.
    broken = overwritten(clip(tmp_path, "d.mp4"), 0, 99)
    with pytest.raises(InvalidInput) as refused:
        predict_file(str(broken), eye, url)
    assert refused.value.code == "damaged_video"


def test_a_file_that_is_cut_off_counts_up_to_there(tmp_path: Path, url: str, eye: Eye) -> None:
    whole = write(tmp_path / "a.ts", [100 * n for n in range(60)])
    cut = tmp_path / "b.ts"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    complete = predict_file(str(whole), eye, url, frames_per_second=10).frame_timestamps_us
    read = predict_file(str(cut), eye, url, frames_per_second=10).frame_timestamps_us
    assert 10 < len(read) < len(complete) == 60
    assert read[:20] == complete[:20]
    assert set(read) < set(complete)


def test_damage_in_the_middle_leaves_its_frames_out(tmp_path: Path, url: str, eye: Eye) -> None:
    path = overwritten(clip(tmp_path), 14, 20)
    read = predict_file(str(path), eye, url, frames_per_second=10).frame_timestamps_us
    assert 20 < len(read) < 40
    assert set(range(0, 1_200_000, 100_000)) <= set(read)


def test_a_model_whose_file_is_gone_says_so(tmp_path: Path, url: str) -> None:
    with pytest.raises(Unavailable) as refused:
        predict_file(str(clip(tmp_path)), Eye("gone", "0" * 64), url)
    assert refused.value.code == "model_file_missing"


def test_other_models_answer_too(tmp_path: Path, url: str) -> None:
    path, blobs = str(clip(tmp_path, seconds=2)), Blobs(url)
    classes = Signature(Task.CLASSIFICATION, "test", ("day", "night"), 32)
    day = Eye("c", blobs.put(constant_model(classes, [np.array([2.0, 0.0])])))
    (whole,) = predict_file(path, day, url, frames_per_second=2).objects
    assert [c.name for c in whole.categories] == ["day", "night"]
    assert {o.box for o in whole.observations} == {(0, 0, 1, 1)}
    plane = np.zeros((2, 8, 8), np.float32)
    plane[1, :, :4] = 9
    plane[0, :, 4:] = 9
    regions = Signature(Task.SEMANTIC, "test", ("road",), 32)
    (road,) = predict_file(path, Eye("s", blobs.put(constant_model(regions, [plane]))), url).objects
    assert road.categories[0].name == "road"
    assert (road.observations[0].box or ())[0] == pytest.approx(0, abs=0.02)
    masks = Signature(Task.INSTANCES, "test", ("car",), 64, nms_iou=0.5)
    outputs = [np.array([[4, 4, 40, 16]]), np.array([[0.9]]), np.ones((1, 2)), np.ones((2, 8, 8))]
    (car,) = predict_file(path, Eye("i", blobs.put(constant_model(masks, outputs))), url).objects
    assert car.observations[0].box == pytest.approx((4 / 64, 4 / 19.2, 40 / 64, 16 / 19.2), abs=0.01)


class Words:
    """A detector by names that finds each name at a place of its own."""

    name = "words"

    def detect(
        self, image: np.ndarray, names: Sequence[str], *, threshold: float, max_detections: int
    ) -> list[Detection]:
        assert image.shape == (96, 320, 3)
        boxes = {"car": Box(10, 10, 60, 40), "van": Box(11, 10, 60, 40), "dog": Box(200, 20, 50, 50)}
        scores = {"car": 0.9, "van": 0.8, "dog": 0.7}
        found = sorted((name for name in names if scores[name] >= threshold), key=lambda name: -scores[name])
        return [Detection(name, boxes[name], scores[name]) for name in found]


def test_a_detector_by_names_and_one_object_called_two_things(tmp_path: Path) -> None:
    path = str(clip(tmp_path, seconds=2))
    wanted = choose(path, Span(5.0)).frames
    reader = Reader(path, 1)
    found = detecting.looked_through(reader, wanted, WordsSight(Words(), ["van", "dog", "car"]), 0.5)
    reader.close()
    told = timeline(found, frames_per_second=5, model="words", threshold=0.5)
    assert [each.categories[0].name for each in told.objects] == ["car", "dog"]


class Slow:
    """Counts how many frames it holds at a time."""

    classes, attributes, whole = ("x",), {}, False

    def __init__(self) -> None:
        self.most = self.now = 0
        self.lock = threading.Lock()

    def see(self, images: Sequence[np.ndarray], threshold: float) -> list:
        with self.lock:
            self.now += len(images)
            self.most = max(self.most, self.now)
        threading.Event().wait(0.002)
        with self.lock:
            self.now -= len(images)
        return WordsSight(Words(), []).see(images, threshold)


def test_only_so_many_frames_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(clip(tmp_path, seconds=8))
    wanted = choose(path, Span(10.0)).frames
    monkeypatch.setattr(detecting, "BATCH_PIXELS", 2 * 320 * 96)
    slow, reader = Slow(), Reader(path, 1)
    found = detecting.looked_through(reader, wanted, slow, 0.5)
    reader.close()
    assert len(found.timestamps_us) == 80
    assert 0 < slow.most <= 2 * detecting.WORKERS


def test_no_frame_stays_behind(tmp_path: Path) -> None:
    path = str(clip(tmp_path, seconds=3))
    gc.collect()
    gc.disable()
    try:
        assert len(list(frames(path, Span(10.0)))) == 30
        assert sum(type(each).__name__ == "VideoFrame" for each in gc.get_objects()) < 5
    finally:
        gc.enable()


def test_what_the_model_raises_ends_it(tmp_path: Path) -> None:
    class Broken(Slow):
        def see(self, images: Sequence[np.ndarray], threshold: float) -> list:
            raise Unavailable("broken", code="engine_failed")

    path = str(clip(tmp_path))
    reader = Reader(path, 1)
    with pytest.raises(Unavailable, match="broken"):
        detecting.looked_through(reader, choose(path, Span(10.0)).frames, Broken(), 0.5)
    reader.close()
