"""Attributes as pairs of texts, there and back, and through an XML parser."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.annotations.geometry import BBoxAnnotation, BoundingBox
from tintype_studio.formats.attributes import flatten, restore
from tintype_studio.formats.xml_text import cleaned, distinct, escaped

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def box(attributes, confidence=1.0):
    return BBoxAnnotation(
        id="a",
        name="n",
        bounding_box=BoundingBox(x=1, y=1, w=1, h=1),
        attributes=attributes,
        confidence=confidence,
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(plain, max_size=4), st.floats(0, 1))
def test_what_is_flattened_is_restored_through_xml(attributes, confidence):
    pairs = flatten(box(attributes, confidence))
    assert len({name for name, _ in pairs}) == len(pairs)
    lines = [f'<a n="{escaped(name)}">{escaped(value)}</a>' for name, value in pairs]
    document = ElementTree.fromstring(f"<r>{''.join(lines)}</r>")
    read = [(element.attrib["n"], element.text or "") for element in document]
    assert read == pairs
    assert restore(read) == (attributes, confidence)


@pytest.mark.parametrize(
    ("attributes", "pairs"),
    [
        ([{"colour": "red"}, {"side": "left"}], [("colour", "red"), ("side", "left")]),
        ([{"review": "draft"}], [("review", "draft")]),
        (["worn"], [("worn", "true"), ("attributes_json", '["worn"]')]),
        ([{"n": 3}], [("n", "3"), ("attributes_json", '[{"n":3}]')]),
        ([{"a": {"b": 1}}], [("attributes_json", '[{"a":{"b":1}}]')]),
        ([{"confidence": "high"}], [("attributes_json", '[{"confidence":"high"}]')]),
        (["\x01é"], [("\ufffdé", "true"), ("attributes_json", '["\\u0001\\u00e9"]')]),
    ],
)
def test_what_others_see(attributes, pairs):
    assert flatten(box(attributes)) == pairs


def test_what_somebody_changed_in_another_program_counts():
    pairs = dict(flatten(box([{"n": 3}, "worn"])))
    assert restore(pairs.items()) == ([{"n": 3}, "worn"], 1.0)
    assert restore((pairs | {"n": "4"}).items())[0] == [{"n": "4"}, {"worn": "true"}]
    assert restore([("attributes_json", "[broken")])[0] == [{"attributes_json": "[broken"}]
    assert restore([("confidence", "high"), ("confidence", "7")])[0] == [
        {"confidence": "high"},
        {"confidence": "7"},
    ]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20))
def test_any_text_survives_a_parser_but_for_what_xml_cannot_hold(value):
    document = ElementTree.fromstring(f'<r a="{escaped(value)}">{escaped(value)}</r>')
    assert document.attrib["a"] == (document.text or "") == cleaned(value)
    assert cleaned(cleaned(value)) == cleaned(value)
    assert not re.search("[\x00-\x08\ud800-\udfff\ufffe\uffff]", cleaned(value))


def test_names_that_would_become_one_stay_apart():
    names = ["a\x01", "a\x02", "a\ufffd", "b", "a\ufffd 2"]
    kept = distinct(names)
    assert kept == {
        "a\x01": "a\ufffd 3",
        "a\x02": "a\ufffd 4",
        "a\ufffd": "a\ufffd",
        "b": "b",
        "a\ufffd 2": "a\ufffd 2",
    }
