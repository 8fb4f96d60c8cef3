"""Tables of every version, and tables that lie: one clear refusal, and no memory taken for a claim."""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arro3.core import Array, DataType, RecordBatch, Table, fixed_size_list_array, list_array
from arro3.io import write_ipc, write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.errors import InvalidInput, TintypeError, TooLarge
from tintype_studio.formats.edf.arrays import of_list
from tintype_studio.formats.edf.claims import check_claims
from tintype_studio.formats.edf.documents import documents_of
from tintype_studio.formats.edf.rows import EdfRow, SampleFacts, facts_of_rows, rows_of
from tintype_studio.formats.edf.schema import COLUMNS
from tintype_studio.formats.edf.table import arrays_of, read_table, write_table
from tintype_studio.formats.edf.writing import ROWS, TableSpool

NAMES = Array(["a", "b"], DataType.utf8())


def table(columns: dict[str, Any], metadata: dict[str, str] | None = None, **options: Any) -> io.BytesIO:
    found = io.BytesIO()
    metadata = {"schema_version": "2026.10"} if metadata is None else metadata
    write_ipc(RecordBatch.from_pydict(columns, metadata=metadata), found, **options)
    return found


def full() -> bytes:
    row = EdfRow(
        "a",
        frame=3,
        object_id="7",
        label="cat",
        label_index=9,
        group="train",
        polygon=[[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]],
        box2d=[0.3, 0.3, 0.4, 0.4],
        size=[640, 480],
        location=[1, 2],
        pose=[1, 2, 3],
    )
    found = io.BytesIO()
    write_table(found, [arrays_of([row, EdfRow("b")])], {"schema_version": "2026.10"})
    return found.getvalue()


def test_a_row_comes_back() -> None:
    found = read_table(io.BytesIO(full()))
    first, second = found.read([0, 1])
    assert (first.name, first.frame, first.label, first.label_index, first.group) == (
        "a",
        3,
        "cat",
        9,
        "train",
    )
    assert first.pose == [1, 2, 3]
    assert second == EdfRow("b")
    assert not second.says_annotation
    assert read_table(io.BytesIO(full())).read([1, 0]) == [second, first]


def test_2025_has_outlines_parted_by_nan_and_yaw_first() -> None:
    ring = [0.1, 0.1, 0.5, 0.1, 0.5, 0.5]
    flat = np.array([*ring, math.nan, *ring, *ring], dtype=np.float32)
    columns = {
        "name": NAMES,
        "mask": list_array(Array.from_numpy(np.array([0, 13, 19])), Array.from_numpy(flat)),
        "pose": of_list(COLUMNS["pose"], [[30, 20, 10], None]),
        "iscrowd": Array([1, 0], DataType.uint8()),
    }
    found = read_table(table(columns, {}))
    assert found.facts.version == "2025.10"
    first, second = found.read([0, 1])
    assert [len(rings) for rings in (first.polygon or (), second.polygon or ())] == [2, 1]
    assert first.mask is None
    assert first.pose == [10, 20, 30]
    assert (first.iscrowd, second.iscrowd) == (True, False)


@pytest.mark.parametrize(
    ("version", "pose"), [("2026.04", [3, 2, 1]), ("2026.10", [1, 2, 3]), ("2031.01", [1, 2, 3])]
)
def test_later_versions_say_roll_first(version: str, pose: list[int]) -> None:
    columns = {"name": NAMES, "pose": of_list(COLUMNS["pose"], [[1, 2, 3], None])}
    assert read_table(table(columns, {"schema_version": version})).read([0])[0].pose == pose


def test_other_types_of_the_same_sense_are_taken() -> None:
    doubles = fixed_size_list_array(Array.from_numpy(np.arange(8.0)), 4)
    lists = list_array(Array.from_numpy(np.array([0, 2, 4])), Array.from_numpy(np.array([4, 3, 2, 1])))
    columns = {
        "name": Array(["a", "b"], DataType.string_view()),
        "label": Array(["x", "y"], DataType.large_utf8()),
        "label_index": Array([1, 2], DataType.int32()),
        "box2d": doubles,
        "size": lists,
        "unknown": Array([1, 2], DataType.int8()),
    }
    first, second = read_table(table(columns)).read([0, 1])
    assert (first.label, first.label_index, first.box2d, first.size) == ("x", 1, [0, 1, 2, 3], [4, 3])
    assert (second.label, second.size) == ("y", [2, 1])


THREES = fixed_size_list_array(Array.from_numpy(np.arange(6, dtype=np.float32)), 3)
UNEVEN = list_array(Array.from_numpy(np.array([0, 3, 7])), Array.from_numpy(np.arange(7.0)))
MINUS = fixed_size_list_array(Array.from_numpy(np.array([1, 2, -3, 4])), 2)
HOLES = fixed_size_list_array(Array([1.0, 2, None, 4], DataType.float32()), 2)
NESTED = list_array(
    Array.from_numpy(np.array([0, 1, 2])),
    list_array(Array.from_numpy(np.array([0, 5, 10])), Array.from_numpy(np.zeros(10, np.float32))),
)


@pytest.mark.parametrize(
    ("column", "array", "told"),
    [
        ("name", Array([None, "b"], DataType.utf8()), "a row has none"),
        ("name", Array([1, 2], DataType.int64()), "its type is Int64"),
        ("label", Array([1, 2], DataType.int64()), "not text or categories"),
        ("label_index", Array([-1, 2], DataType.int64()), "negative or too large"),
        ("label_index", Array([1.5, 2], DataType.float64()), "not whole numbers"),
        ("frame", Array([1 << 40, 2], DataType.int64()), "negative or too large"),
        ("box2d", Array([1.0, 2], DataType.float32()), "not fixed lists of 4 float32"),
        ("box2d", THREES, "3 numbers each"),
        ("box2d", UNEVEN, "another count"),
        ("size", MINUS, "negative or too large"),
        ("location", HOLES, "nothing where a number"),
        ("polygon", NESTED, "a ring has an odd count"),
        ("polygon", Array([1.0, 2], DataType.float32()), "not lists of lists"),
        ("mask", Array(["x", "y"], DataType.utf8()), "not binary"),
        ("timing", Array([1, 2], DataType.int64()), "not a struct"),
    ],
)
def test_a_column_of_another_kind_is_named(column: str, array: Array, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as refused:
        read_table(table({"name": NAMES, column: array}))
    assert refused.value.code == "wrong_column"
    assert refused.value.details == {"column": column}


def test_a_table_without_names_is_refused() -> None:
    with pytest.raises(InvalidInput, match="which sample"):
        read_table(table({"label": NAMES}))


def test_hostile_metadata_says_nothing() -> None:
    told = {
        "schema_version": "9" * 100_000,
        "labels": "[" * 5000,
        "category_metadata": '{"a": 1, "b": {"id": "x"}}',
        "coco_info": "nonsense",
    }
    found = read_table(table({"name": NAMES}, told))
    assert (found.facts.version, found.facts.labels) == ("2025.10", ())
    assert found.facts.categories == {"b": {"id": "x"}}


def test_a_claim_of_a_billion_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(full())
    at = data.find(struct.pack("<q", 2))
    while at >= 0:
        data[at : at + 8] = struct.pack("<q", 1_000_000_000)
        at = data.find(struct.pack("<q", 2))
    with pytest.raises(TooLarge, match="claims 1,000,000,000 rows"):
        read_table(io.BytesIO(bytes(data)))


def test_fewer_rows_than_a_limit_and_no_bytes_for_them() -> None:
    data = bytearray(full())
    at = data.find(struct.pack("<q", 2))
    while at >= 0:
        data[at : at + 8] = struct.pack("<q", 40_000_000)
        at = data.find(struct.pack("<q", 2))
    with pytest.raises(InvalidInput):
        read_table(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("packing", ["lz4", "zstd"])
def test_packed_columns_that_lie_are_refused(packing: str) -> None:
    zeros = Array.from_numpy(np.zeros(2_000_000, dtype=np.float64))
    data = bytearray(table({"name": zeros}, compression=packing).getvalue())
    true = struct.pack("<q", 16_000_000)
    at = data.find(true)
    bomb, claim = bytes(data), bytearray(data)
    claim[at : at + 8] = struct.pack("<q", 1 << 50)
    with pytest.raises(TooLarge, match="unpacks to more"):
        check_claims(io.BytesIO(bytes(claim)), len(claim))
    data[at : at + 8] = struct.pack("<q", 8)
    with pytest.raises(InvalidInput):
        read_table(io.BytesIO(bytes(data)))
    assert check_claims(io.BytesIO(bomb), len(bomb)) == 2_000_000


def test_packed_tables_are_read() -> None:
    for packing in ("lz4", "zstd"):
        found = read_table(table({"name": Array(["a"] * 5000, DataType.utf8())}, compression=packing))
        assert found.rows == 5000


def test_every_cut_is_refused() -> None:
    data = full()
    for length in range(0, len(data), 37):
        with pytest.raises(InvalidInput) as refused:
            read_table(io.BytesIO(data[:length]))
        assert refused.value.code == "broken_file"


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_bytes_never_do_more_than_be_refused(data: st.DataObject) -> None:
    whole = bytearray(full())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_table(io.BytesIO(bytes(whole)))
        rows = found.read(range(found.rows))
        documents_of(rows, 640, 480).documents  # noqa: B018
    except TintypeError:
        pass  # refused; anything else is raised


def test_damaged_parquet_is_refused() -> None:
    found = io.BytesIO()
    write_parquet(RecordBatch.from_pydict({"name": NAMES}), found)
    data = found.getvalue()
    assert read_table(io.BytesIO(data)).rows == 2
    for length in range(4, len(data), 150):
        with pytest.raises(InvalidInput):
            read_table(io.BytesIO(data[:length]))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (EdfRow("a", label="x", polygon=[[0.1, 0.1, 0.2]]), "odd count"),
        (EdfRow("a", label="x", polygon=[[math.nan] * 6]), "infinite, NaN"),
        (EdfRow("a", label="x", box2d=[math.inf, 0, 0.1, 0.1]), "infinite, NaN"),
        (EdfRow("a", label="x", box2d=[0.5, 0.5, -0.1, 0.1]), "negative size"),
        (EdfRow("a", label="x", mask=b"no picture"), "no PNG"),
        (EdfRow("a", label="x", box3d=[1, 2, 3, 0, 1, 1]), "3-D box"),
        (EdfRow("a", label="x", box2d=[0.5, 0.5, 0.1, 0.1], box2d_score=2), "not between 0 and 1"),
        (EdfRow("a", label="x", x_annotation="{"), "no JSON object"),
        (EdfRow("a", label="x", x_annotation='{"polyline": 5}'), "no annotation"),
    ],
)
def test_rows_that_make_no_sense_are_refused(row: EdfRow, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        documents_of([row], 640, 480).documents  # noqa: B018


def test_what_somebody_changed_in_the_columns_counts() -> None:
    document = {
        "id": "a",
        "name": "cat",
        "confidence": 0.123456789,
        "attributes": ["wet", {"truncation": 2}, {"iscrowd": True}],
        "type": "bbox",
        "bounding_box": {"x": 1.123456789, "y": 2.0, "w": 3.0, "h": 4.0},
    }
    (row,) = rows_of(SampleFacts("s", size=(640, 480)), [document], {"cat": 1})
    assert documents_of([row], 640, 480).documents == [document]
    row.truncation, row.ignore, row.iscrowd, row.box2d_score = 1, None, None, 0.5
    row.box2d = [0.5, 0.5, 0.25, 0.25]
    (changed,) = documents_of([row], 640, 480).documents
    assert changed["attributes"] == ["wet", {"truncation": 1}]
    assert changed["confidence"] == 0.5
    assert changed["bounding_box"] == {"x": 240, "y": 180, "w": 160, "h": 120}


def test_masks_of_other_sizes_are_put_where_they_belong() -> None:
    from tintype_studio.annotations.masks import array_of, mask_of_array, png_of

    bits = np.zeros((4, 6), dtype=np.bool_)
    bits[1:3, 2:5] = True
    mask = mask_of_array(bits)
    assert mask is not None
    png = png_of(mask)
    (scaled,) = documents_of([EdfRow("a", label="x", mask=png)], 12, 8).annotations
    assert scaled.mask is not None
    assert np.array_equal(array_of(scaled.mask), bits.repeat(2, axis=0).repeat(2, axis=1))
    offset = struct.pack(">iiB", 3, 2, 0)
    chunk = struct.pack(">I", 9) + b"oFFs" + offset + struct.pack(">I", zlib.crc32(b"oFFs" + offset))
    (tile,) = documents_of([EdfRow("a", label="x", mask=png[:33] + chunk + png[33:])], 12, 8).annotations
    assert tile.mask is not None
    assert np.array_equal(np.argwhere(array_of(tile.mask)), np.argwhere(bits) + np.array([2, 3]))


def test_a_long_table_is_written_in_flat_memory_with_one_list_of_labels(tmp_path: Path) -> None:
    with TableSpool({"cat": 5, "dog": 2}) as spool:
        for number in range(ROWS + 10):
            name = "cat" if number % 2 else "dog"
            box = {"x": 1.0, "y": 1.0, "w": 5.0, "h": 5.0}
            facts = SampleFacts(f"s{number}", group="late" if number > ROWS else None, size=(64, 48))
            spool.add(facts, [{"id": "a", "name": name, "type": "bbox", "bounding_box": box}])
        spool.finish(tmp_path / "long.arrow")
    found = read_table(tmp_path / "long.arrow")
    assert found.rows == ROWS + 10
    assert set(zip(found.values("label"), found.values("label_index"), strict=True)) == {
        ("cat", 5),
        ("dog", 2),
    }
    assert found.values("group").count("late") == 9
    assert facts_of_rows(found.read([ROWS + 9])) == SampleFacts(f"s{ROWS + 9}", group="late", size=(64, 48))


def test_a_checked_table_is_arrow_for_whatever_takes_arrow() -> None:
    found = Table.from_arrow(read_table(io.BytesIO(full())))
    assert found.num_rows == 2
    assert found.column("label").to_pylist() == ["cat", None]
    assert found.schema.metadata_str["schema_version"] == "2026.10"
