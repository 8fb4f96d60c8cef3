"""Options that a model has chosen, and the class list that they are saved under."""

from __future__ import annotations

from typing import Any

import pytest

from tintype_studio.annotations.fitting import fitting
from tintype_studio.annotations.geometry import BBoxAnnotation, BoundingBox
from tintype_studio.vision.heads import HeadsSignature, options_in, options_of

DECLARED = {"sign": {"colour": ("red", "blue"), "lit": ("true", "false")}}


def sign(*attributes: Any, name: str = "sign") -> BBoxAnnotation:
    box = BoundingBox(x=1, y=2, w=3, h=4)
    return BBoxAnnotation(id="a", name=name, bounding_box=box, attributes=list(attributes))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"colour": "red"}], [{"colour": "red"}]),
        ([{"colour": "violet"}], []),
        ([{"colour": "violet", "note": "x"}, "worn"], [{"note": "x"}, "worn"]),
        ([{"lit": True}, {"lit": 3}], [{"lit": True}]),
        ([{"shape": "round"}, {}, {"review": "draft"}], [{"shape": "round"}, {}, {"review": "draft"}]),
        ([{"colour": None}], [{"colour": None}]),
    ],
)
def test_only_what_the_class_takes_stays(before: list[Any], after: list[Any]) -> None:
    (kept,) = fitting([sign(*before)], DECLARED)
    assert kept.attributes == after


def test_classes_that_declare_nothing_keep_everything() -> None:
    annotation = sign({"colour": "violet"}, name="lamp")
    assert fitting([annotation], DECLARED) == [annotation]
    assert fitting([sign({"colour": "violet"})], {})[0].attributes == [{"colour": "violet"}]


def test_options_are_read_from_the_entries_of_an_annotation() -> None:
    entries = ["worn", {"colour": "red", "note": "x"}, {"lit": False}, {"size": 3}, {"deep": {"colour": "x"}}]
    assert options_in(entries, {"colour", "lit", "size"}) == {"colour": "red", "lit": "false", "size": "3"}
    assert options_in([], {"colour"}) == {}
    assert options_of({"colour": ("red", 0.9, {"red": 0.9, "blue": 0.1})}) == {"colour": "red"}


def test_a_signature_tells_where_each_head_stands() -> None:
    attributes = {
        "sign": {"colour": ["red", "blue"], "lit": ["true", "false", "half"]},
        "lamp": {"lit": ["a", "b"]},
    }
    signature = HeadsSignature.of(attributes, 96)
    assert [(head.start, head.end) for head in signature.heads] == [(0, 2), (2, 5), (5, 7)]
    assert signature.outputs == 7
    assert HeadsSignature.from_json(signature.as_json()) == signature
    assert signature.attributes == attributes
    assert HeadsSignature.of({}, 96).outputs == 0
