"""Text on tags and where tags go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tintype_studio.media.labels import (
    Placer,
    Tag,
    TagMaker,
    spots_for_box,
    spots_for_outline,
    spots_for_point,
)
from tintype_studio.media.lettering import Lettering, one_line, simplified

TAG = Tag("x", 40, 14, 3, 11)


def ink(text, size=24):
    """Bounding box of ``text`` drawn at (40, 60), and the number of inked pixels."""
    image = Image.new("RGB", (600, 120))
    Lettering(size).draw(image, 40, 60, text, (255, 255, 255))
    return image.getbbox(), int((np.asarray(image)[..., 0] > 128).sum())


@pytest.mark.parametrize("text", ["traffic light  0.87", "Fußgänger", "行人", "пешеход", "한국어", "évêque"])
def test_text_is_as_long_as_it_says_and_lies_on_the_baseline(text):
    (left, top, right, bottom), inked = ink(text)
    lettering = Lettering(24)
    assert inked > 50
    assert 38 <= left <= 44
    assert 0 <= 40 + lettering.length(text) - right <= 6
    assert top >= 60 - lettering.ascent
    assert bottom <= 60 + lettering.descent + 1


def test_letters_of_other_scripts_differ():
    """Two unknown letters would both be the same empty box."""
    images = []
    for text in ("行", "人", "ж", "ß"):
        image = Image.new("RGB", (60, 60))
        Lettering(32).draw(image, 5, 45, text, (255, 255, 255))
        images.append(image.tobytes())
    assert len(set(images)) == 4


def test_without_a_universal_font_accents_are_dropped():
    assert simplified("Fußgänger café Łódź smørrebrød") == "Fußganger cafe Lodz smorrebrod"
    assert simplified("plain 0.87") == "plain 0.87"


def test_control_characters_and_line_ends_become_blanks():
    assert one_line(" a\nb\t\tc\x00d\u202ee ") == "a b c d e"


@given(st.text(max_size=200), st.integers(20, 400), st.integers(10, 40), st.sampled_from([1.0, 0.5]))
@settings(deadline=None, max_examples=150)
def test_a_tag_is_never_wider_than_allowed(name, max_width, size, confidence):
    tag = TagMaker(size, max_width).make(name, confidence)
    assert tag is None or tag.width <= max_width


def test_long_names_are_cut_before_the_confidence():
    tag = TagMaker(14, 120).make("a very long class name that has no end", 0.87)
    assert tag is not None
    assert tag.text.startswith("a very")
    assert tag.text.endswith("…  0.87")
    narrow = TagMaker(14, 55).make("locomotive", 0.87)
    assert narrow is not None
    assert narrow.text.endswith("…")
    assert TagMaker(14, 8).make("locomotive", 1.0) is None


FLOATS = st.floats(-500, 900, allow_nan=False)


@given(
    st.lists(st.tuples(FLOATS, FLOATS, st.floats(0, 400), st.floats(0, 400)), max_size=40),
    st.integers(1, 400),
)
@settings(deadline=None)
def test_tags_stay_inside_the_picture(boxes, side):
    placer = Placer(side, side, 3 * len(boxes))
    for x, y, w, h in boxes:
        rect = (x, y, x + w, y + h)
        choices = (
            spots_for_box(rect, TAG, 2),
            spots_for_point(x, y, TAG, 5),
            spots_for_outline(rect, (x, y), TAG, 2),
        )
        for spots in choices:
            corner = placer.place(TAG, spots)
            if corner is not None:
                assert 0 <= corner[0] <= side - TAG.width
                assert 0 <= corner[1] <= side - TAG.height


def overlap(first, second):
    across = min(first[0], second[0]) + TAG.width - max(first[0], second[0])
    down = min(first[1], second[1]) + TAG.height - max(first[1], second[1])
    return max(0, across) * max(0, down)


def test_tags_of_the_same_box_find_different_places():
    placer = Placer(400, 400, 10)
    placed = [placer.place(TAG, spots_for_box((150, 150, 280, 260), TAG, 2)) for _ in range(10)]
    assert None not in placed
    for index, corner in enumerate(placed):
        assert all(overlap(corner, other) == 0 for other in placed[:index])


def test_the_first_free_place_is_taken():
    placer = Placer(400, 400, 2)
    assert placer.place(TAG, [(10, 10), (100, 100)]) == (10, 10)
    assert placer.place(TAG, [(10, 10), (100, 100)]) == (100, 100)


def test_where_no_place_is_free_the_least_covered_is_taken_or_none():
    placer = Placer(400, 400, 3)
    placer.place(TAG, [(10, 10)])
    assert placer.place(TAG, [(12, 10), (40, 10)]) == (40, 10)
    assert placer.place(TAG, [(12, 10)]) is None


def test_points_are_kept_clear():
    placer = Placer(400, 400, 1, keep_clear=[(45, 12, 55, 22)])
    assert placer.place(TAG, [(10, 10), (100, 100)]) == (100, 100)


def test_a_tag_larger_than_the_picture_is_left_out():
    assert Placer(30, 30, 1).place(TAG, [(0, 0)]) is None
