"""Predictions as Parquet: the exact columns, whatever there is to say, and the same bytes each time."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from arro3.io import read_parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_server.dragoneye.archive import archive_of
from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    MediaPrediction,
    Observation,
    PredictedObject,
    ScoredRange,
    TimeRange,
    name_id,
)


def tables(prediction: MediaPrediction) -> dict[str, Any]:
    """The archive's tables by the names of its members."""
    archive = zipfile.ZipFile(io.BytesIO(archive_of(prediction)))
    assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
    return {name: read_parquet(io.BytesIO(archive.read(name))).read_all() for name in archive.namelist()}


def rows(table: Any) -> list[dict[str, Any]]:
    """As Python values."""
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def one(media: Any = "video") -> MediaPrediction:
    state = [
        Choice("State", "green", [ScoredRange(0, 1_000_000, 0.5)]),
        Choice("State", "red", [ScoredRange(2_000_000, 2_000_000, 0.75)]),
    ]
    return MediaPrediction(
        media,
        "m@1.0.0",
        100,
        50,
        [
            PredictedObject(
                1,
                [TimeRange(0, 2_000_000)],
                [Observation(0, (0, 0.25, 0.5, 1), 0.5), Observation(1_000_000), Observation(2_000_000)],
                [CategoryPrediction("Ampel №1", 0.5, state), CategoryPrediction("b", 0.25)],
            )
        ],
        1,
        [0, 1_000_000, 2_000_000],
    )


def test_what_an_object_says() -> None:
    found = tables(one())
    (row,) = rows(found["predictions.parquet"])
    assert row["object_id"] == 1
    assert row["timestamp_ranges"] == [
        {"timestamp_start_us_inclusive": 0, "timestamp_end_us_inclusive": 2_000_000}
    ]
    seen, missed, _ = row["bbox_observations"]
    assert seen == {"timestamp_microseconds": 0, "normalized_bbox": [0, 0.25, 0.5, 1], "bbox_score": 0.5}
    assert missed == {"timestamp_microseconds": 1_000_000, "normalized_bbox": None, "bbox_score": None}
    first, second = row["categories"]
    assert (first["category_id"], first["name"], first["score"]) == (name_id("Ampel №1"), "Ampel №1", 0.5)
    assert second["attributes"] == []
    green, red = first["attributes"]
    assert green["attribute_id"] == red["attribute_id"] == name_id("Ampel №1", "State")
    assert green["option_id"] == name_id("Ampel №1", "State", "green") != red["option_id"]
    assert red["timestamp_ranges"] == [
        {
            "timestamp_start_us_inclusive": 2_000_000,
            "timestamp_end_us_inclusive": 2_000_000,
            "score": 0.75,
        }
    ]
    times = rows(found["frame_timestamps.parquet"])
    assert [each["timestamp_microseconds"] for each in times] == [0, 1_000_000, 2_000_000]


def test_the_columns_stand_whatever_is_found() -> None:
    full = tables(one())["predictions.parquet"].schema
    empty = tables(MediaPrediction("image", "m", 1, 1, []))
    assert set(empty) == {"predictions.parquet"}
    assert empty["predictions.parquet"].schema == full
    assert empty["predictions.parquet"].num_rows == 0
    bare = tables(MediaPrediction("video", "m", 1, 1, [PredictedObject(1, [], [], [])], 1, []))
    assert bare["predictions.parquet"].schema == full
    assert bare["frame_timestamps.parquet"].num_rows == 0


def test_the_same_prediction_gives_the_same_bytes() -> None:
    assert archive_of(one()) == archive_of(one())


box = st.tuples(*[st.floats(0, 1, width=32)] * 4)
observations = st.lists(
    st.one_of(
        st.builds(Observation, st.integers(0, 10**12), box, st.floats(0, 1, width=32)),
        st.builds(Observation, st.integers(0, 10**12)),
    ),
    max_size=4,
)
choices = st.lists(
    st.builds(
        Choice,
        st.text(max_size=5),
        st.text(max_size=5),
        st.lists(st.builds(ScoredRange, st.integers(0, 9), st.integers(0, 9), st.just(0.5)), max_size=2),
    ),
    max_size=2,
)
categories = st.lists(
    st.builds(CategoryPrediction, st.text(max_size=5), st.floats(0, 1, width=32), choices), max_size=2
)
ranges = st.lists(st.builds(TimeRange, st.integers(0, 9), st.integers(0, 9)), max_size=3)
objects = st.lists(
    st.builds(PredictedObject, st.integers(1, 2**40), ranges, observations, categories), max_size=4
)


@settings(max_examples=30)
@given(objects)
def test_nothing_is_lost(found: list[PredictedObject]) -> None:
    told = rows(tables(MediaPrediction("image", "m", 1, 1, found))["predictions.parquet"])
    assert [each["object_id"] for each in told] == [each.object_id for each in found]
    for row, each in zip(told, found, strict=True):
        assert [
            (o["timestamp_microseconds"], o["normalized_bbox"], o["bbox_score"])
            for o in row["bbox_observations"]
        ] == [(o.timestamp_us, None if o.box is None else list(o.box), o.score) for o in each.observations]
        assert [
            (c["name"], c["score"], [(a["attribute_name"], a["option_name"]) for a in c["attributes"]])
            for c in row["categories"]
        ] == [(c.name, c.score, [(a.attribute, a.option) for a in c.attributes]) for c in each.categories]
        assert len(row["timestamp_ranges"]) == len(each.ranges)


@pytest.mark.parametrize("media", ["image", "video"])
def test_only_videos_have_a_timeline(media: str) -> None:
    assert ("frame_timestamps.parquet" in tables(one(media))) is (media == "video")
