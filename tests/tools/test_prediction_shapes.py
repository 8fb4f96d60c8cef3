"""What agents are told of any prediction: nothing invented, nothing lost, whatever they ask for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    Corners,
    MediaPrediction,
    Observation,
    PredictedObject,
    ScoredRange,
    TimeRange,
)
from tintype_tools.prediction_shapes import SAMPLED, answer_of

_share = st.floats(0, 1, width=32)
_scores = st.floats(0, 1, width=32)


@st.composite
def _corners(draw: st.DrawFn) -> Corners:
    (left, right), (top, bottom) = (sorted(draw(st.tuples(_share, _share))) for _ in range(2))
    return left, top, right, bottom


@st.composite
def _videos(draw: st.DrawFn) -> MediaPrediction:
    times = sorted(draw(st.sets(st.integers(0, 10**9), min_size=1, max_size=30)))
    objects = []
    for number in range(1, draw(st.integers(0, 4)) + 1):
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(times) - 1)] * 2)))
        own = times[first : last + 1]
        seen = [
            Observation(time, draw(_corners()), draw(_scores)) if draw(st.booleans()) else Observation(time)
            for time in own
        ]
        choices = [Choice("state", "on", [ScoredRange(own[0], own[-1], draw(_scores))])]
        category = CategoryPrediction(draw(st.sampled_from(["a", "ß"])), draw(_scores), choices)
        objects.append(PredictedObject(number, [TimeRange(own[0], own[-1])], seen, [category]))
    return MediaPrediction("video", "m@1.0.0", 64, 48, objects, 1, times, times[-1])


@given(prediction=_videos(), span=st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)).map(sorted))
@settings(max_examples=30)
def test_less_is_asked_for_and_never_anything_else(prediction: MediaPrediction, span: list[int]) -> None:
    prediction = MediaPrediction.from_json(prediction.as_json())
    whole = answer_of(prediction, observations="all")
    assert whole.frame_timestamps_microseconds == prediction.frame_timestamps_us
    assert [each.object_id for each in whole.objects] == [each.object_id for each in prediction.objects]
    for told, known in zip(whole.objects, prediction.objects, strict=True):
        seen = told.bbox_observations or []
        assert [each.timestamp_microseconds for each in seen] == [o.timestamp_us for o in known.observations]
        assert told.gap_count == sum(each.observation is None for each in seen)
        some = answer_of(prediction, object_id=known.object_id).objects[0]
        assert len(some.bbox_observations or []) <= SAMPLED
        assert all(each in seen for each in some.bbox_observations or [])
        assert (some.observation_count, some.gap_count) == (told.observation_count, told.gap_count)
    first, last = span
    part = answer_of(prediction, observations="all", span=(first, last))
    assert part.frame_timestamps_microseconds == [
        time for time in prediction.frame_timestamps_us if first <= time <= last
    ]
    for each in part.objects:
        full = next(other for other in whole.objects if other.object_id == each.object_id)
        inside = [o for o in full.bbox_observations or [] if first <= o.timestamp_microseconds <= last]
        assert each.bbox_observations == inside
        assert each.categories == full.categories
    bare = answer_of(prediction, observations="none")
    assert all(each.bbox_observations is None for each in bare.objects)
