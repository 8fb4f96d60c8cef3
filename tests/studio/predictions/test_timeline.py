"""From detections in frames to objects over time: ranges, gaps, boxes, categories and options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.errors import InvalidInput
from tintype_studio.predictions.packing import FramesFound, columns, joined, option_row, pack, unpack
from tintype_studio.predictions.shapes import MediaPrediction, Observation, ScoredRange, TimeRange
from tintype_studio.predictions.smoothing import smoothed
from tintype_studio.predictions.timeline import assemble, timeline
from tintype_studio.video.tracking.looks import LENGTH

SECOND = 1_000_000
CLASSES = ("light", "sign")
ATTRIBUTES = {"light": {"state": ["green", "red"], "kind": ["cars", "people", "trams"]}}
STILL = (0.2, 0.2, 0.4, 0.6)


def seen(
    *frames: Sequence[dict[str, Any]], fps: float = 1.0, whole: bool = False, start: float = 0.0
) -> FramesFound:
    """Frames at a steady rate; a detection has ``box``, ``score``, ``label``, ``green`` (None: not asked)."""
    usual = {"box": STILL, "score": 0.9, "label": 0, "green": None}
    flat = [{**usual, **one} for frame in frames for one in frame]
    options = np.zeros((len(flat), 5), np.float32)
    for row, one in zip(options, flat, strict=True):
        if one["green"] is not None:
            row[:2] = one["green"], 1 - one["green"]
    return FramesFound(
        640,
        360,
        CLASSES,
        ATTRIBUTES,
        whole,
        np.array([round((start + n / fps) * SECOND) for n in range(len(frames))], np.int64),
        np.array([len(frame) for frame in frames], np.int32),
        np.array([one["box"] for one in flat], np.float32).reshape(-1, 4),
        np.array([one["score"] for one in flat], np.float32),
        np.array([one["label"] for one in flat], np.int32),
        np.full((len(flat), LENGTH), 100, np.uint8),
        options,
    )


def answer(found: FramesFound, threshold: float = 0.5) -> MediaPrediction:
    return timeline(found, frames_per_second=1, model="lights@1", threshold=threshold)


def test_gaps_are_kept_and_every_frame_is_told() -> None:
    told = answer(seen([], [{}], [], [{"score": 0.8}], [], []))
    assert told.frame_timestamps_us == [n * SECOND for n in range(6)]
    (found,) = told.objects
    assert found.ranges == [TimeRange(SECOND, 3 * SECOND)]
    box = pytest.approx(STILL, abs=1e-4)
    assert [(o.timestamp_us, o.box, o.score) for o in found.observations] == [
        (SECOND, box, 0.9),
        (2 * SECOND, None, None),
        (3 * SECOND, box, 0.8),
    ]
    assert [(c.name, c.score) for c in found.categories] == [("light", pytest.approx(0.85))]
    assert (told.media, told.model, told.width, told.height) == ("video", "lights@1", 640, 360)
    assert MediaPrediction.from_json(told.as_json()) == told


def test_a_long_absence_ends_the_range_of_the_same_object() -> None:
    frames = [[{}]] * 3 + [[]] * 6 + [[{}]] * 2
    (found,) = answer(seen(*frames)).objects
    assert found.ranges == [TimeRange(0, 2 * SECOND), TimeRange(9 * SECOND, 10 * SECOND)]
    assert [o.timestamp_us // SECOND for o in found.observations] == [0, 1, 2, 9, 10]
    assert all(o.box for o in found.observations)


def test_weak_detections_only_go_on_with_what_is_known() -> None:
    elsewhere = (0.7, 0.1, 0.9, 0.3)
    weak = {"box": elsewhere, "score": 0.3}
    told = answer(seen([{}, weak], [{"score": 0.3}, weak], [{}, weak]))
    (found,) = told.objects
    assert [o.score for o in found.observations] == [0.9, 0.3, 0.9]
    assert answer(seen([weak], [weak])).objects == []


def test_categories_are_voted_on_and_means_count_every_frame() -> None:
    frames = [[{"label": int(n in {2, 5}), "score": 0.8}] for n in range(8)]
    (found,) = answer(seen(*frames)).objects
    assert [(c.name, c.score) for c in found.categories] == [("light", 0.6), ("sign", 0.2)]
    # One frame of many is no second opinion.
    (found,) = answer(seen(*[[{"label": int(n == 2)}] for n in range(12)])).objects
    assert [c.name for c in found.categories] == ["light"]


def test_an_option_that_changes_has_two_entries_with_means_of_raw_scores() -> None:
    frames = [[{"green": green}] for green in (0.9, 0.8, None, 0.3, 0.1)]
    (found,) = answer(seen(*frames)).objects
    (category,) = found.categories
    assert [(c.attribute, c.option, c.ranges) for c in category.attributes] == [
        ("state", "green", [ScoredRange(0, SECOND, 0.85)]),
        ("state", "red", [ScoredRange(3 * SECOND, 4 * SECOND, 0.8)]),
    ]


def test_an_option_comes_back_as_another_range_and_absences_split_it() -> None:
    lit = [[{"green": green}] for green in (0.9, 0.2, 0.9)]
    (found,) = answer(seen(*lit, *[[]] * 6, [{"green": 0.7}])).objects
    green, red = found.categories[0].attributes
    assert [(r.start_us // SECOND, r.end_us // SECOND) for r in green.ranges] == [(0, 0), (2, 2), (9, 9)]
    assert [(r.start_us // SECOND, r.score) for r in red.ranges] == [(1, 0.8)]


def test_a_flicker_of_an_option_at_a_high_rate_is_smoothed_away_but_scored_raw() -> None:
    frames = [[{"green": 0.4 if n == 15 else 0.9}] for n in range(30)]
    (found,) = answer(seen(*frames, fps=30)).objects
    (state,) = found.categories[0].attributes
    assert (state.option, len(state.ranges)) == ("green", 1)
    assert state.ranges[0].score == pytest.approx((29 * 0.9 + 0.4) / 30, abs=1e-3)


def test_boxes_are_smoothed_where_frames_are_near_and_not_where_they_are_far() -> None:
    random = np.random.default_rng(1)
    true = np.array([[0.1 + 0.01 * n, 0.3, 0.3 + 0.01 * n, 0.5] for n in range(40)])
    noisy = true + random.normal(0, 0.01, true.shape)
    frames = [[{"box": tuple(box)}] for box in noisy]
    (fast,) = answer(seen(*frames, fps=30)).objects
    (slow,) = answer(seen(*frames, fps=1)).objects

    def wrong(found: Any) -> float:
        return float(np.abs(np.array([o.box for o in found.observations]) - true).mean())

    assert wrong(fast) < 0.75 * wrong(slow)
    assert np.array([o.box for o in slow.observations]) == pytest.approx(noisy, abs=1e-4)


def test_objects_are_numbered_as_they_appear() -> None:
    late, better = {"box": (0.7, 0.1, 0.9, 0.3)}, {"box": (0.5, 0.6, 0.6, 0.9), "score": 0.95}
    told = answer(seen([better, {}], [better, {}, late], [better, {}, late]))
    assert [o.object_id for o in told.objects] == [1, 2, 3]
    starts = [(o.ranges[0].start_us, o.observations[0].score) for o in told.objects]
    assert starts == [(0, 0.95), (0, 0.9), (SECOND, 0.9)]


def test_a_model_of_whole_pictures_gives_one_object() -> None:
    whole = (0.0, 0.0, 1.0, 1.0)
    frames = [
        [{"box": whole, "score": day, "label": 0}, {"box": whole, "score": 1 - day, "label": 1}]
        for day in (0.9, 0.55, 0.8)
    ]
    (found,) = answer(seen(*frames, whole=True), threshold=0.6).objects
    assert found.ranges == [TimeRange(0, 2 * SECOND)]
    assert [o.box for o in found.observations] == [whole, None, whole]
    assert [(c.name, c.score) for c in found.categories] == [("light", 0.85), ("sign", 0.15)]
    assert answer(seen(*frames, whole=True), threshold=0.95).objects == []


def test_a_video_without_a_readable_frame_is_damaged() -> None:
    with pytest.raises(InvalidInput, match="no picture"):
        assemble([pack(seen())], frames_per_second=1, model="m", threshold=0.5)


def test_parts_are_put_together_also_after_a_part_without_frames() -> None:
    whole = seen(*[[{"green": 0.9}, {"label": 1, "box": (0.6, 0.6, 0.8, 0.9)}]] * 6, [])
    first = seen(*[[{"green": 0.9}, {"label": 1, "box": (0.6, 0.6, 0.8, 0.9)}]] * 4)
    empty = replace(seen(), width=0, height=0)
    last = seen(*[[{"green": 0.9}, {"label": 1, "box": (0.6, 0.6, 0.8, 0.9)}]] * 2, [], start=4.0)
    told = assemble(
        [pack(each) for each in (empty, first, empty, last)],
        frames_per_second=1,
        model="lights@1",
        threshold=0.5,
        duration_us=7 * SECOND,
    )
    assert MediaPrediction.from_json(told) == replace(answer(whole), duration_us=7 * SECOND)


def test_what_is_packed_comes_back() -> None:
    for found in (seen([{}, {"green": 0.25}], [], [{"label": 1}]), seen()):
        back = unpack(pack(found))
        for name in FramesFound.__slots__:
            one, other = getattr(found, name), getattr(back, name)
            assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other
    assert [each.shape for each in (joined([seen(), seen()]).boxes, unpack(pack(seen())).options)] == [
        (0, 4),
        (0, 5),
    ]


def test_options_have_their_columns() -> None:
    choices = {"kind": ("trams", 0.6, {"cars": 0.1, "people": 0.3, "trams": 0.6})}
    assert option_row(ATTRIBUTES, "light", choices) == [0, 0, 0.1, 0.3, 0.6]
    assert option_row(ATTRIBUTES, "sign", {}) == [0] * 5
    assert columns(ATTRIBUTES, "light")[1] == ("kind", ["cars", "people", "trams"], 2)
    assert columns(ATTRIBUTES, "sign") == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                *[st.floats(0, 0.75)] * 2, *[st.floats(0.01, 0.5)] * 2,
                st.floats(0.05, 1), st.integers(0, 1), st.floats(0, 1),
            ),
            max_size=4,
        ),
        min_size=1,
        max_size=10,
    ),
    st.sampled_from([0.5, 1, 5, 30]),
)  # fmt: skip
def test_every_answer_keeps_the_rules_of_its_shape(frames: list, fps: float) -> None:
    found = seen(
        *[
            [
                {"box": (x, y, min(1, x + w), min(1, y + h)), "score": s, "label": label, "green": green}
                for x, y, w, h, s, label, green in frame
            ]
            for frame in frames
        ],
        fps=fps,
    )
    told = answer(found)
    times = told.frame_timestamps_us
    assert times == sorted(times)
    assert [each.object_id for each in told.objects] == list(range(1, len(told.objects) + 1))
    sightings = 0
    for each in told.objects:
        inside = [t for t in times if any(r.start_us <= t <= r.end_us for r in each.ranges)]
        assert [o.timestamp_us for o in each.observations] == inside
        by_time: dict[int, Observation] = {o.timestamp_us: o for o in each.observations}
        for span in each.ranges:
            assert by_time[span.start_us].box is not None
            assert by_time[span.end_us].box is not None
        for one in each.observations:
            assert (one.box is None) == (one.score is None)
            assert one.box is None or all(0 <= value <= 1 for value in one.box)
        sightings += sum(o.box is not None for o in each.observations)
        assert max(o.score or 0 for o in each.observations) >= 0.5
        assert [c.score for c in each.categories] == sorted((c.score for c in each.categories), reverse=True)
        for choice in (choice for c in each.categories for choice in c.attributes):
            assert all(s.start_us <= s.end_us and 0 <= s.score <= 1 for s in choice.ranges)
            ends = [s.end_us for s in choice.ranges[:-1]]
            assert all(a < b.start_us for a, b in zip(ends, choice.ranges[1:], strict=True))
    assert sightings <= len(found.scores)


def test_smoothing_follows_lines_and_means() -> None:
    seconds = np.cumsum(np.random.default_rng(0).random(50) * 0.05)
    ones = np.ones(50)
    line = np.stack([3 * seconds + 1, -seconds], axis=1)
    assert smoothed(seconds, line, ones, 0.1, straight=True) == pytest.approx(line, abs=1e-6)
    steps = (seconds > seconds[25])[:, None].astype(float)
    level = smoothed(seconds, steps, ones, 0.1, straight=False)
    assert (np.diff(level[:, 0]) >= -1e-9).all()
    assert level[0, 0] < 0.05
    assert level[-1, 0] > 0.95
    far = np.arange(5.0)
    assert smoothed(far, steps[23:28], np.ones(5), 0.1, straight=True) == pytest.approx(steps[23:28])
