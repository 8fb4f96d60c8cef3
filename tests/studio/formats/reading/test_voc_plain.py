"""What is read without a parser is what the parser would have read, and anything else is left to it."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.formats.reading import pascal_voc
from tintype_studio.formats.reading.voc_plain import plain_objects

NAMES = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="<&>?!"), min_size=1, max_size=8
)
NUMBERS = st.one_of(st.integers(-50, 2000), st.floats(-50, 2000, allow_nan=False)).map(repr)
FLAGS = st.sampled_from(
    ["", "<difficult>1</difficult>", "<difficult>0</difficult>", "<difficult> true </difficult>"]
)
RINGS = st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5), max_size=2)
GAP = st.sampled_from(["", "\n", "\n  "])


@st.composite
def objects(draw: st.DrawFn) -> str:
    sides = [f"<{side}>{draw(NUMBERS)}</{side}>" for side in ("xmin", "ymin", "xmax", "ymax")]
    polygons = [
        "<polygon>"
        + "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(ring, 1))
        + "</polygon>"
        for ring in draw(RINGS)
    ]
    occluded = draw(st.sampled_from(["", "<occluded>1</occluded>"]))
    parts = [f"<name>{draw(NAMES)}</name>", "<pose>Left</pose>", occluded, draw(FLAGS)]
    parts += ["<bndbox>", *sides, "</bndbox>", *polygons]
    gap = draw(GAP)
    return "<object>" + gap.join(["", *parts, ""]) + "</object>" + gap


def converted(data: bytes) -> object:
    root, convert = pascal_voc._parsed(data, "a.xml")
    return root.findtext("filename"), [s[:1] + s[2:] for s in convert(640, 480).shapes]


@settings(max_examples=60, deadline=None)
@given(st.lists(objects(), min_size=1, max_size=4))
def test_plain_objects_are_read_as_the_parser_reads_them(found):
    text = f"<annotation>\n<filename>a.jpg</filename>{''.join(found)}</annotation>\n".encode()
    assert plain_objects(text) is not None
    plain = converted(text)
    with patch.object(pascal_voc, "plain_objects", return_value=None):
        assert repr(converted(text)) == repr(plain)


BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
OBJECT = f"<object><name>car</name>{BOX}</object>"


@pytest.mark.parametrize(
    "text",
    [
        OBJECT.replace("car", "a &amp; b"),
        OBJECT.replace("car", "<!-- x -->car"),
        OBJECT.replace("</object>", "<part><name>wheel</name></part></object>"),
        OBJECT.replace(
            "</object>",
            "<attributes><attribute><name>a</name><value>b</value></attribute></attributes></object>",
        ),
        OBJECT.replace("<xmin>1<", "<xmin>nan<"),
        OBJECT.replace("<xmin>1<", "<xmin>1_0<"),
        OBJECT.replace("</bndbox>", "</bndbox><bndbox/>"),
        OBJECT.replace("</bndbox>", "</bndbox><polygon><x1>1</x1></polygon>"),
        OBJECT.replace("</bndbox>", "</bndbox><polygon><x1>1</x1><y1>1</y1></polygon>text"),
        OBJECT + "text" + OBJECT,
        OBJECT + "<segmented>0</segmented>",
        OBJECT[:-9],
        "",
    ],
)
def test_what_says_more_is_left_to_the_parser(text):
    assert plain_objects(f"<annotation>{text}</annotation>".encode()) is None


def test_only_utf_8_and_a_whole_file_are_read_so():
    whole = f"<annotation>{OBJECT}</annotation>"
    assert plain_objects(whole.encode()) is not None
    assert plain_objects(whole.encode()[:-3]) is None
    assert plain_objects(f'<?xml version="1.0" encoding="latin-1"?>{whole}'.encode()) is None
    assert plain_objects(whole.replace("car", "caf\xe9").encode("latin-1")) is None
