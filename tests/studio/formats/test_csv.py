"""CSV: read back whole, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintype_studio.formats.csv_rows import COLUMNS, guarded, unguarded


def rows(exported):
    text = exported.text("annotations.csv")
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_kind_of_annotation(make):
    exported = make.export(
        "csv",
        make.item(
            make.box(1, 2, 3.5, 4, attributes=[{"a": 'say "x", y'}], confidence=0.25),
            make.polygon([(1, 1), (4, 1), (4, 4.25)], [(2, 2), (3, 2), (3, 3)], name="car"),
            make.line((1, 2), (3, 4)),
            make.keypoint(5, 6),
            folder="/stop",
            split="val",
        ),
        make.item(filename="empty.jpg"),
    )
    assert exported.names == ["annotations.csv"]
    assert exported.text("annotations.csv").split("\r\n")[0] == ",".join(COLUMNS)
    read = rows(exported)
    assert [(r["filename"], r["class"], r["type"], r["split"]) for r in read] == [
        ("stop/001.jpg", "stop", "bbox", "val"),
        ("stop/001.jpg", "car", "polygon", "val"),
        ("stop/001.jpg", "stop", "polyline", "val"),
        ("stop/001.jpg", "stop", "keypoint", "val"),
        ("empty.jpg", "", "", ""),
    ]
    assert [[float(r[k]) for k in ("xmin", "ymin", "xmax", "ymax")] for r in read[:4]] == [
        [1, 2, 4.5, 6],
        [1, 1, 4, 4.25],
        [1, 2, 3, 4],
        [5, 6, 5, 6],
    ]
    assert [json.loads(r["points"]) if r["points"] else None for r in read] == [
        None,
        [[[1, 1], [4, 1], [4, 4.25]], [[2, 2], [3, 2], [3, 3]]],
        [[1, 2], [3, 4]],
        [5, 6],
        None,
    ]
    assert [r["confidence"] for r in read] == ["0.25", "", "", "", ""]
    assert json.loads(read[0]["attributes"]) == [{"a": 'say "x", y'}]
    assert {(r["width"], r["height"]) for r in read} == {("64", "48")}
    assert exported.summary.annotations == 4
    assert exported.summary.notes[0].startswith(
        "3 annotations are no box, with the shape in the column points"
    )


def test_odd_names_come_back(make):
    name = 'a,b "c".jpg'
    exported = make.export(
        "csv", make.item(make.box(1, 1, 2, 2, name='x"\n,y'), filename=name), classes=('x"\n,y',)
    )
    (row,) = rows(exported)
    assert (row["filename"], row["class"]) == (name, 'x"\n,y')


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "'=1", "\uff1d1"])
def test_no_text_is_taken_for_a_formula(make, formula):
    exported = make.export("csv", make.item(make.box(-1, 1, 2, 2, name=formula)), classes=(formula,))
    (row,) = rows(exported)
    assert row["class"] == f"'{formula}"
    assert unguarded(row["class"]) == formula
    assert float(row["xmin"]) == -1  # a number is no formula


@given(st.text(st.sampled_from("'=+-@ab\t\n"), max_size=6) | st.text(max_size=6))
def test_guarding_can_be_taken_back(text):
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in set("=+-@\t\r\n")


def test_an_empty_dataset_has_the_heading(make):
    exported = make.export("csv", classes=())
    assert exported.text("annotations.csv") == ",".join(COLUMNS) + "\r\n"
