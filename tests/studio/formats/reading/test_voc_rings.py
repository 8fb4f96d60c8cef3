"""Polygons that are taken out of the text say what the parser says of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.errors import InvalidInput
from tintype_studio.formats.reading import pascal_voc
from tintype_studio.formats.reading.safe_xml import parse_xml
from tintype_studio.formats.reading.voc_rings import HELD, parsed_annotation

HEADS = [
    b"",
    b'<?xml version="1.0"?>\n',
    b'<?xml version="1.0" encoding="UTF-8"?>',
    b"<?xml version='1.0' encoding='iso-8859-1'?>",
    b"\xef\xbb\xbf",
]
GOOD = b"<x1>1.5</x1><y1>2</y1><x2>30</x2><y2>4.25</y2><x3>5</x3><y3>1e1</y3>"
INNERS = [
    GOOD,
    GOOD,
    b"",
    b"<y1>2</y1><x1>1</x1><x2>3</x2><y2>4</y2><x3>5</x3><y3>6</y3>",  # in another order
    GOOD.replace(b"1.5", b" +1.5 "),
    GOOD.replace(b"1.5", b"true"),
    GOOD.replace(b"1.5", b"nan"),
    GOOD.replace(b"1.5", b"007"),
    GOOD.replace(b"1.5", b"1,2"),
    GOOD.replace(b"1.5", b""),
    GOOD.replace(b"1.5", b"1e400"),
    GOOD.replace(b"</x1>", b"</x2>"),
    GOOD.replace(b"<x1>", b'<x1 a="1">'),
    GOOD.replace(b"<x1>", b"\n<x1>"),
    GOOD.replace(b"1.5", b"<!-- 9 -->1.5"),
    GOOD.replace(b"1.5", b"<![CDATA[1.5]]>"),
    GOOD[:-5],
    GOOD + b"<polygon>" + GOOD + b"</polygon>",
    b"<x1>1</x1>",
]
TAGS = [b"polygon", b"polygon", b"polygon", b'polygon held="0"', b"polygon ", b'polygon a="1"']
objects = st.lists(
    st.tuples(
        st.sampled_from(["car", "<polygon>", "é", "&lt;polygon&gt;", "held"]),
        st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(INNERS)), max_size=3),
    ),
    max_size=3,
)


def outcome(data, parse):
    try:
        root, rings = parse(data, "a.xml")
        converted = pascal_voc._convert(root.findall("object"), rings, 64, 48)
        return repr(converted.documents), converted.notes
    except InvalidInput as error:
        return error.code, error.message


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(HEADS), objects)
def test_taken_out_or_not_the_outcome_is_the_same(head, listed):
    body = b"".join(
        b"<object><name>%b</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>%b</object>"
        % (name.encode(), b"".join(b"<%b>%b</polygon>" % pair for pair in polygons))
        for name, polygons in listed
    )
    data = head + b"<annotation>\n" + body + b"</annotation>"

    def plain(data, path):
        return parse_xml(data, path), []

    assert outcome(data, parsed_annotation) == outcome(data, plain)


def test_what_is_written_here_is_taken_out():
    data = b"<annotation><object><polygon>" + GOOD + b"</polygon></object></annotation>"
    root, rings = parsed_annotation(data, "a.xml")
    assert rings == [[0.5, 1.0, 29.0, 3.25, 4.0, 9.0]]
    assert root.find("object/polygon").get(HELD) == "0"


@pytest.mark.parametrize("inner", [GOOD[:-5], GOOD + b"<"])
def test_the_place_of_a_mistake_is_that_in_the_file(inner):
    good = b"<annotation><object><polygon>" + GOOD + b"</polygon></object>"
    data = good + b"<object><polygon>" + inner + b"</polygon></object></annotation>"
    with pytest.raises(InvalidInput) as taken:
        parsed_annotation(data, "a.xml")
    with pytest.raises(InvalidInput) as whole:
        parse_xml(data, "a.xml")
    assert taken.value.message == whole.value.message
