"""The tracker: objects keep their ids through crossings, gaps and absences, at any frame rate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from support.moving import SIZE, Thing, detections, tracked

from tintype_studio.video.tracking.association import overlaps, pairs
from tintype_studio.video.tracking.looks import LENGTH, distances, look_of
from tintype_studio.video.tracking.motion import Motion, centred, cornered
from tintype_studio.video.tracking.protocol import Tracker
from tintype_studio.video.tracking.tracker import Tuning, TwoStageTracker

RATES = [1, 2, 5, 10, 30]


def across(speed: float, y: float = 180.0, start: float = 40.0):
    return lambda t: (start + speed * t, y)


def times(fps: float, seconds: float) -> list[float]:
    return [n / fps for n in range(int(fps * seconds))]


def one_object(found: list[int]) -> bool:
    return len(set(found)) == 1 and found[0] != 0


@pytest.mark.parametrize("fps", RATES)
def test_objects_side_by_side_keep_their_ids_at_any_rate(fps: int) -> None:
    things = [Thing(across(45.0, 60)), Thing(across(60.0, 180)), Thing(lambda t: (600 - 50 * t, 300.0))]
    found = tracked(TwoStageTracker(*SIZE), detections(things, times(fps, 8)))
    assert all(map(one_object, found.values()))
    assert len({ids[0] for ids in found.values()}) == 3


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize("looks", [True, False])
def test_objects_that_cross_do_not_change_ids(fps: int, looks: bool) -> None:
    things = [Thing(across(70.0, 170), colour=90), Thing(lambda t: (600 - 70 * t, 190.0), colour=160)]
    found = tracked(TwoStageTracker(*SIZE), detections(things, times(fps, 8)), looks=looks)
    assert all(map(one_object, found.values()))
    assert found[1][0] != found[2][0]


@pytest.mark.parametrize(("trust", "kept"), [(Tuning().trust_of_new, True), (1.0, False)])
def test_what_is_seen_for_a_moment_where_two_meet_takes_over_neither(trust: float, kept: bool) -> None:
    """Boxes of a real detector: at 3.4 and 3.6 s it saw a third sign across both."""
    meeting = [
        [(94, 67, 145, 117), (115, 85, 160, 131), (102, 74, 156, 130)],
        [(100, 68, 142, 110), (108, 83, 156, 132), (99, 67, 160, 129)],
        [(105, 68, 146, 107), (104, 83, 151, 131)],
        [(98, 78, 151, 131)],
        [(108, 69, 158, 119), (94, 84, 141, 130)],
        [(116, 69, 164, 117), (88, 86, 133, 130)],
    ]
    before = [[(10 + 5 * n, 70, 54 + 5 * n, 114), (200 - 5 * n, 86, 244 - 5 * n, 130)] for n in range(17)]
    tracker = TwoStageTracker(256, 192, Tuning(trust_of_new=trust))
    ids = []
    for n, boxes in enumerate(before + meeting):
        look = np.full((len(boxes), LENGTH), 40, np.uint8)
        if n < 16:
            look[0] = 45
        kinds, scores = np.zeros(len(boxes), int), np.full(len(boxes), 0.8)
        ids.append(tracker.update(n * 200_000, np.array(boxes, float), scores, kinds, look).tolist())
    assert ids[-1][1] == ids[0][1]
    assert (ids[-1][0] == ids[0][0]) is kept


def test_uneven_times_do_not_matter() -> None:
    steps = np.random.default_rng(3).choice([0.01, 0.05, 0.2, 0.5], 60)
    things = [Thing(across(30.0, 80)), Thing(across(-25.0, 250, 600))]
    found = tracked(TwoStageTracker(*SIZE), detections(things, np.cumsum(steps).tolist()))
    assert all(map(one_object, found.values()))


def test_a_weak_detection_keeps_a_track_and_begins_none() -> None:
    dips = Thing(across(50.0, 90), score=lambda t: 0.2 if 2 < t < 4 else 0.9)
    never = Thing(across(50.0, 270), score=lambda _: 0.3)
    found = tracked(TwoStageTracker(*SIZE), detections([dips, never], times(10, 8)))
    assert one_object(found[1])
    assert set(found[2]) == {0}


def test_what_is_hidden_for_a_while_comes_out_where_it_is_expected() -> None:
    hidden = Thing(lambda t: None if 3 < t < 4 else (40 + 60 * t, 180.0))
    other = Thing(lambda t: (40 + 60 * t, 300.0))
    found = tracked(TwoStageTracker(*SIZE), detections([hidden, other], times(10, 8)), looks=False)
    assert all(map(one_object, found.values()))


def test_what_left_and_came_back_is_the_same_object_if_it_looks_so() -> None:
    def leaves(t: float) -> tuple[float, float] | None:
        return (560 + 60 * t, 100.0) if t < 2 else None if t < 6 else (680 - 60 * (t - 6), 110.0)

    back = Thing(leaves, colour=60)
    frames = detections([back, Thing(across(20.0, 300), colour=180)], times(10, 9))
    assert all(map(one_object, tracked(TwoStageTracker(*SIZE), frames).values()))
    # Another thing that comes instead is another object.
    first = Thing(lambda t: leaves(t) if t < 4 else None, colour=60)
    second = Thing(lambda t: leaves(t) if t > 4 else None, colour=140)
    found = tracked(TwoStageTracker(*SIZE), detections([first, second], times(10, 9)))
    assert all(map(one_object, found.values()))
    assert found[1][0] != found[2][0]


def test_twins_that_are_there_together_are_not_taken_for_one_another_later() -> None:
    stays = Thing(lambda t: (300.0, 100.0), colour=100)
    goes = Thing(lambda t: (100.0, 300.0) if t < 2 else None, colour=100)
    comes = Thing(lambda t: (500.0, 300.0) if t > 5 else None, colour=100)
    found = tracked(TwoStageTracker(*SIZE), detections([stays, goes, comes], times(5, 8)))
    assert len({ids[0] for ids in found.values()}) == 3


def test_a_flicker_is_no_object_where_one_would_be_seen_again() -> None:
    flicker = Thing(lambda t: (500.0, 60.0) if abs(t - 1) < 0.02 else None)
    stays = Thing(lambda t: (100.0, 300.0))
    fast = tracked(TwoStageTracker(*SIZE), detections([stays, flicker], times(30, 3)))
    assert one_object(fast[1])
    assert fast[2] == [0]
    slow = tracked(TwoStageTracker(*SIZE), detections([stays, flicker], times(1, 3)))
    assert slow[2] != [0]


def test_a_detector_that_wavers_between_classes_sees_one_object() -> None:
    thing = Thing(across(40.0))
    frames = detections([thing], times(10, 6))
    for n, frame in enumerate(frames):
        frame.labels[:] = n % 3 == 0
    assert one_object(tracked(TwoStageTracker(*SIZE), frames)[1])


def test_what_changes_its_look_at_once_is_the_same_object() -> None:
    light = Thing(lambda t: (300.0, 100.0))
    frames = detections([light], times(10, 4))
    for frame in frames[20:]:
        frame.looks[:] = 220
    assert one_object(tracked(TwoStageTracker(*SIZE), frames)[1])


def test_nothing_found_is_no_object() -> None:
    tracker: Tracker = TwoStageTracker(*SIZE)
    assert isinstance(tracker, Tracker)
    assert tracked(tracker, detections([], times(5, 2))) == {}
    assert TwoStageTracker(*SIZE).settled() == {}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(*[st.floats(-50, 700)] * 2, *[st.floats(0.1, 400)] * 2, st.floats(0, 1)), max_size=6
        ),
        max_size=12,
    ),
    st.lists(st.integers(1, 3_000_000), min_size=12, max_size=12),
)
def test_whatever_a_detector_says_ids_are_given_once_a_frame(frames: list, steps: list[int]) -> None:
    tracker = TwoStageTracker(*SIZE, Tuning(sure=0.4))
    now, seen = 0, set()
    for rows, step in zip(frames, steps, strict=False):
        now += step
        boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows]).reshape(-1, 4)
        scores = np.array([row[4] for row in rows])
        ids = tracker.update(now, boxes, scores, np.zeros(len(rows), np.int64))
        given_out = ids[ids > 0].tolist()
        assert len(set(given_out)) == len(given_out)
        assert (ids[scores >= 0.4] > 0).all()
        seen |= set(given_out)
    settled = tracker.settled()
    assert set(settled) <= seen
    assert set(settled.values()) <= set(settled)


def test_motion_learns_speed_and_knows_what_it_does_not_know() -> None:
    motion = Motion()
    where = np.array([[0.0, 0.0, 40.0, 20.0]])
    motion.add(where)
    for _ in range(20):
        motion.advance(0.1)
        where += [3.0, 1.0, 3.0, 1.0]
        motion.correct(np.array([0]), where)
    assert motion.mean[0, :2, 1] == pytest.approx([30, 10], abs=0.5)
    before = motion.spread()[0, 0]
    motion.advance(1.0)
    assert motion.corners()[0] == pytest.approx(where[0] + [30, 10, 30, 10], abs=1.0)
    assert motion.spread()[0, 0] > 3 * before
    assert cornered(centred(where)) == pytest.approx(where)


def test_pairs_are_the_best_there_are() -> None:
    fit = np.random.default_rng(0).random((4, 5))
    rows, columns = pairs(fit, 0.0)
    ways = itertools.permutations(range(5), 4)
    best = max(sum(fit[row, column] for row, column in enumerate(way)) for way in ways)
    assert fit[rows, columns].sum() == pytest.approx(best)
    assert len(linear_sum_assignment(fit)[0]) == len(rows)
    rows, columns = pairs(fit, 0.9)
    assert (fit[rows, columns] >= 0.9).all()


def test_room_makes_near_boxes_overlap() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    assert overlaps(boxes, boxes)[0, 1] == 0
    assert overlaps(boxes, boxes, np.full((2, 2), 10.0))[0, 1] > 0.1
    assert overlaps(boxes, boxes).diagonal() == pytest.approx(1)


def test_looks_tell_colours_apart_more_than_light() -> None:
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, :40], image[:, 40:80], image[:, 80:] = (200, 30, 30), (150, 20, 20), (30, 30, 200)
    red, dark, blue = (look_of(image, (x, 0, x + 40, 60)) for x in (0, 40, 80))
    apart = distances(np.stack([red]), np.stack([red, dark, blue]))[0]
    assert apart[0] == 0
    assert apart[1] < 0.3 * apart[2]
    # Outside the picture, or empty, is no reason to fail.
    assert look_of(image, (500, 500, 500, 500)).shape == red.shape
