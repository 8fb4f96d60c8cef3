"""Attributes of classes, and the options that annotations choose, through the export formats and back."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.annotations.options import RESERVED, chosen
from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass
from tintype_studio.errors import InvalidInput
from tintype_studio.formats import WRITERS
from tintype_studio.formats.base import ExportClass
from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.class_attributes import listed_attributes
from tintype_studio.formats.reading.source import open_source

from .conftest import CREATED, Make

LISTING = ("pictograph", "coco", "cvat")
SHAPES_ONLY = ("yolo", "pascal_voc", "labelme", "csv")
COLOUR = ClassAttribute("colour", ("red", "dark blue", "交通"))
STATE = ClassAttribute("lit & on", ("true", "false"))


def written(format: str, classes: list[ExportClass], *items: Any) -> tuple[bytes, list[str]]:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w") as archive,
        WRITERS[format](archive, dataset_name="d", classes=classes, created_at=CREATED) as writer,
    ):
        for item in items:
            writer.add(item)
        notes = writer.finish().notes
    return out.getvalue(), notes


def read(data: bytes) -> tuple[list[DatasetClass], list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "export.zip"
        path.write_bytes(data)
        with open_source(path) as source:
            reader = open_reader(source)
            return reader.classes, [a for item in reader.items() for a in item.convert(64, 48).annotations]


@pytest.mark.parametrize("format", LISTING)
def test_a_format_that_lists_attributes_brings_them_and_the_choices_back(format: str) -> None:
    make = Make()
    lamp = ExportClass("lamp", "#ff8800", "bbox", (COLOUR, STATE))
    annotations = [
        make.box(1, 2, 8, 9, "lamp", attributes=[{"colour": "dark blue"}, {"lit & on": "true"}]),
        make.box(3, 2, 8, 9, "lamp", attributes=["wet", {"colour": "交通", "maker": "x"}]),
        make.box(3, 2, 8, 9, "pole"),
    ]
    data, notes = written(format, [lamp, ExportClass("pole")], make.item(*annotations))
    assert not [note for note in notes if "attribute" in note]
    classes, back = read(data)
    assert [c.attributes for c in classes] == [(COLOUR, STATE), ()]
    assert [chosen(a, classes[0]) for a in back] == [
        {"colour": "dark blue", "lit & on": "true"},
        {"colour": "交通"},
        {},
    ]


def test_cvat_is_told_the_options_as_a_list_to_choose_from() -> None:
    data, _ = written("cvat", [ExportClass("lamp", attributes=(COLOUR,))])
    text = zipfile.ZipFile(io.BytesIO(data)).read("annotations.xml").decode()
    assert "<input_type>select</input_type>" in text
    assert "<values>red\ndark blue\n交通</values>" in text


@pytest.mark.parametrize("format", SHAPES_ONLY)
def test_the_other_formats_say_that_options_are_not_listed(format: str) -> None:
    _, notes = written(format, [ExportClass("lamp", attributes=(COLOUR, STATE))], Make().item())
    assert any(note.startswith("2 attributes of classes are not listed") for note in notes)


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cn")), min_size=1, max_size=12
)


def _attribute(name: str, options: list[str]) -> ClassAttribute | None:
    found = listed_attributes([(name, options)])
    return found[0] if found else None


ATTRIBUTES = st.builds(_attribute, NAMES, st.lists(NAMES, min_size=2, max_size=5, unique=True)).filter(bool)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LISTING), st.lists(ATTRIBUTES, max_size=3, unique_by=lambda a: a.name))
def test_any_attributes_come_back(format: str, attributes: list[ClassAttribute]) -> None:
    data, _ = written(format, [ExportClass("lamp", attributes=tuple(attributes))])
    (lamp,) = read(data)[0]
    assert lamp.attributes == tuple(attributes)


def test_what_no_class_can_have_stays_metadata() -> None:
    found = listed_attributes(
        [
            ("colour", ["red"]),
            (sorted(RESERVED)[0], ["a", "b"]),
            (None, ["a", "b"]),
            ("x", "ab"),
            ("ok", [" a", "b", "a"]),
        ]
    )
    assert found == (ClassAttribute("ok", ("a", "b")),)


def test_a_broken_list_of_attributes_is_no_reason_to_refuse_a_file() -> None:
    data, _ = written("coco", [ExportClass("lamp", attributes=(COLOUR,))])
    text = zipfile.ZipFile(io.BytesIO(data)).read("annotations.json").decode()
    for broken in ("5", '[5, {"name": 3}, {"name": "x", "options": "ab"}]', "null"):
        start = text.index('"attributes":') + len('"attributes":')
        end = text.index("]}]", start) + 3
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("annotations.json", text[:start] + broken + text[end:])
        try:
            (lamp,) = read(out.getvalue())[0]
        except InvalidInput as error:
            pytest.fail(f"{broken}: {error}")
        assert lamp.attributes == ()
