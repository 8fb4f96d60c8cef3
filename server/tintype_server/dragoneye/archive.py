"""A prediction as clients of the dialect read it: a ZIP file of Parquet files.

``predictions.parquet`` has one row per object; a video's ``frame_timestamps.parquet`` one per frame that was
looked at. Columns are built whole, not row by row: a long video has millions of observations.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    MediaPrediction,
    Observation,
    ScoredRange,
    TimeRange,
    name_id,
)

if TYPE_CHECKING:
    from arro3.core import Array

PREDICTIONS, TIMESTAMPS = "predictions.parquet", "frame_timestamps.parquet"
COMPRESSION = "zstd(3)"
WHEN = (1980, 1, 1, 0, 0, 0)
"""Of the members: the same prediction gives the same bytes."""


def archive_of(prediction: MediaPrediction) -> bytes:
    """The ZIP file; its members are stored, for they are compressed inside."""
    members = {PREDICTIONS: _predictions(prediction)}
    if prediction.media == "video":
        members[TIMESTAMPS] = _timestamps(prediction.frame_timestamps_us)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, WHEN), data)
    return out.getvalue()


def _predictions(prediction: MediaPrediction) -> bytes:
    objects = prediction.objects
    return _parquet(
        {
            "object_id": _int64([each.object_id for each in objects]),
            "timestamp_ranges": _lists([each.ranges for each in objects], _ranges),
            "bbox_observations": _lists([each.observations for each in objects], _observations),
            "categories": _lists([each.categories for each in objects], _categories),
        }
    )


def _timestamps(times: Sequence[int]) -> bytes:
    return _parquet({"image_id": _int64(range(len(times))), "timestamp_microseconds": _int64(times)})


def _ranges(ranges: Sequence[TimeRange]) -> Array:
    return _structs(
        timestamp_start_us_inclusive=_int64([each.start_us for each in ranges]),
        timestamp_end_us_inclusive=_int64([each.end_us for each in ranges]),
    )


def _observations(observations: Sequence[Observation]) -> Array:
    from arro3.core import fixed_size_list_array

    gaps = [each.box is None for each in observations]
    corners = (value for each in observations for value in each.box or (0.0, 0.0, 0.0, 0.0))
    boxes = fixed_size_list_array(_float32(corners), 4, type=_box_type(), mask=_mask(gaps))
    scores = [None if each.box is None else each.score for each in observations]
    return _structs(
        timestamp_microseconds=_int64([each.timestamp_us for each in observations]),
        normalized_bbox=boxes,
        bbox_score=_float32(scores),
    )


def _categories(categories: Sequence[CategoryPrediction]) -> Array:
    chosen = [[(each.name, choice) for choice in each.attributes] for each in categories]
    return _structs(
        category_id=_int64([name_id(each.name) for each in categories]),
        name=_text([each.name for each in categories]),
        score=_float32([each.score for each in categories]),
        attributes=_lists(chosen, _choices),
    )


def _choices(choices: Sequence[tuple[str, Choice]]) -> Array:
    """Of ``(category, choice)``: the ids of attributes and options are those of their category's."""
    return _structs(
        attribute_id=_int64([name_id(name, each.attribute) for name, each in choices]),
        attribute_name=_text([each.attribute for _, each in choices]),
        option_id=_int64([name_id(name, each.attribute, each.option) for name, each in choices]),
        option_name=_text([each.option for _, each in choices]),
        timestamp_ranges=_lists([each.ranges for _, each in choices], _scored_ranges),
    )


def _scored_ranges(ranges: Sequence[ScoredRange]) -> Array:
    return _structs(
        timestamp_start_us_inclusive=_int64([each.start_us for each in ranges]),
        timestamp_end_us_inclusive=_int64([each.end_us for each in ranges]),
        score=_float32([each.score for each in ranges]),
    )


def _lists(rows: Sequence[Sequence[Any]], column_of: Any) -> Array:
    """A column of lists; ``column_of`` makes the column of all their elements, one after the other."""
    import numpy as np
    from arro3.core import Array, DataType, Field, list_array

    values = column_of([each for row in rows for each in row])
    ends = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    return list_array(Array(ends), values, type=DataType.list(Field("element", values.type, nullable=True)))


def _structs(**columns: Array) -> Array:
    from arro3.core import Field, struct_array

    fields = [Field(name, column.type, nullable=True) for name, column in columns.items()]
    return struct_array(list(columns.values()), fields=fields)


def _int64(values: Iterable[int]) -> Array:
    from arro3.core import Array, DataType

    return Array(list(values), DataType.int64())


def _float32(values: Iterable[float | None]) -> Array:
    from arro3.core import Array, DataType

    return Array(list(values), DataType.float32())


def _text(values: Sequence[str]) -> Array:
    from arro3.core import Array, DataType

    return Array(list(values), DataType.string())


def _mask(values: Sequence[bool]) -> Array:
    from arro3.core import Array, DataType

    return Array(list(values), DataType.bool())


def _box_type() -> Any:
    from arro3.core import DataType, Field

    return DataType.list(Field("element", DataType.float32(), nullable=True), 4)


def _parquet(columns: dict[str, Array]) -> bytes:
    from arro3.core import Field, Schema, Table
    from arro3.io import write_parquet

    fields = [Field(name, column.type, nullable=True) for name, column in columns.items()]
    table = Table.from_arrays(list(columns.values()), schema=Schema(fields))
    out = io.BytesIO()
    write_parquet(table, out, compression=COMPRESSION)
    return out.getvalue()
