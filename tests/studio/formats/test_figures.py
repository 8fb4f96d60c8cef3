"""Stored documents read as text say what the models say, whatever stands in them."""

from __future__ import annotations

import io
import zipfile

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.annotations.documents import as_text
from tintype_studio.annotations.geometry import ANNOTATIONS, with_box
from tintype_studio.formats import WRITERS
from tintype_studio.formats.base import ExportClass, ExportItem
from tintype_studio.formats.figures import StoredDocument, figure_of_model, figures_of_text, numbers

from .conftest import CREATED

RING = [{"x": 1.0, "y": 2.0}, {"x": 30.5, "y": 4.25}, {"x": 1e-7, "y": -6.0}]
POLYGON = {"type": "polygon", "polygon": {"paths": [RING]}}
number = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False)
point = st.fixed_dictionaries({"x": number, "y": number})
ring = st.lists(point, min_size=3, max_size=5)
# Texts that could be taken for what is searched for.
TRAPS = [
    '"',
    "\\",
    '","name":"',
    "[[",
    "]]",
    '[[{"x":1,"y":2}]]',
    "\n",
    ",;",
    '}]]},"',
    "é",
    "\\n",
    "]",
    "[",
    ";",
]
word = st.text(max_size=4) | st.sampled_from(TRAPS)
label = word.map(lambda text: f"a{text}a")
attribute = (
    word
    | st.dictionaries(
        word | st.sampled_from(["x", "y", "paths", "polygon", "type"]), st.integers(0, 9), max_size=3
    )
    | st.just([[{"x": 1.0, "y": 2.0}]])
    | st.just({"polygon": {"paths": [RING]}, "type": "polygon"})
    | st.just({"paths": [[0]]})
)
geometry = st.one_of(
    st.builds(
        lambda rings: {"type": "polygon", "polygon": {"paths": rings}}, st.lists(ring, min_size=1, max_size=3)
    ),
    st.builds(
        lambda path: {"type": "polyline", "polyline": {"path": path}}, st.lists(point, min_size=2, max_size=4)
    ),
    st.builds(lambda at: {"type": "keypoint", "keypoint": at}, point),
    st.builds(
        lambda at, w, h: {"type": "bbox", "bounding_box": {**at, "w": w, "h": h}},
        point,
        st.floats(0.01, 1e6),
        st.floats(0.01, 1e6),
    ),
)
annotation = st.builds(
    lambda shape, **rest: {**rest, **shape},
    geometry,
    id=label,
    name=label,
    confidence=st.just(1.0) | st.floats(0, 1),
    created_by=st.none() | word,
    attributes=st.just([]) | st.lists(attribute, max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(annotation, max_size=5))
def test_the_text_says_what_the_models_say(entries):
    models = [with_box(a) for a in ANNOTATIONS.validate_python(entries)]
    text = as_text(models)
    told = [figure_of_model(a) for a in models]
    assert figures_of_text(text) == told
    assert figures_of_text(text, paired=True) == [figure_of_model(a, paired=True) for a in models]
    # As another program might write it: spaced, or with other orders of members.
    for written in (
        orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode(),
        orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode(),
        text.replace('"x":', '"x": '),
    ):
        found = figures_of_text(written) if orjson.loads(written) == orjson.loads(text) else told
        assert found == told


def test_the_points_of_a_ring_in_another_order_of_members():
    (model,) = ANNOTATIONS.validate_python(
        [{"id": "a", "name": "n", "type": "polygon", "polygon": {"paths": [RING]}}]
    )
    text = as_text([model])
    for old, new in (
        ('{"x":30.5,"y":4.25}', '{"y":4.25,"x":30.5}'),
        ('{"x":1.0,"y":2.0}', '{"y":2.0,"x":1.0}'),
        ('{"x":1.0,', '{"x": 1.0 ,'),
    ):
        assert old in text
        assert figures_of_text(text.replace(old, new)) == [figure_of_model(model)]


def test_numbers_come_back_exactly():
    (model,) = ANNOTATIONS.validate_python(
        [{"id": "a", "name": "n", "type": "polygon", "polygon": {"paths": [RING]}}]
    )
    (figure,) = figures_of_text(as_text([model]))
    assert numbers(figure.texts) == [value for point in RING for value in (point["x"], point["y"])]


def test_no_document_is_no_figure():
    assert figures_of_text("") == figures_of_text("[]") == StoredDocument("").models() == []


@pytest.mark.parametrize("name", WRITERS)
def test_a_stored_document_and_its_models_make_the_same_export(name):
    shapes = [
        POLYGON,
        {"type": "bbox", "bounding_box": {"x": 1.0, "y": 2.0, "w": 3.5, "h": 4.0}},
        {"type": "keypoint", "keypoint": {"x": 1.0, "y": 2.5}},
        {"type": "polyline", "polyline": {"path": RING}},
        {
            "type": "polygon",
            "polygon": {"paths": [RING, [{"x": 9.0 * (k % 2), "y": 3.0 * k} for k in range(4)]]},
        },
    ]
    entries = [
        {"id": f"{n}-{k}", "name": name, "attributes": attributes, **shape}
        for n, (name, attributes) in enumerate([("a", []), ("b", ["x", {"x": 1}]), ("a", [{"k": [[0]]}])])
        for k, shape in enumerate(shapes)
    ]
    models = ANNOTATIONS.validate_python(entries)

    def export(annotations, classes):
        out = io.BytesIO()
        with (
            zipfile.ZipFile(out, "w") as archive,
            WRITERS[name](
                archive, dataset_name="d", classes=[ExportClass(c) for c in classes], created_at=CREATED
            ) as writer,
        ):
            writer.add(ExportItem("i", "1.jpg", "/", 64, 48, "complete", "train", annotations))
            summary = writer.finish()
        return out.getvalue(), summary

    assert export(StoredDocument(as_text(models)), "ab") == export(models, "ab")
    wanted = [a for a in models if a.name == "b"]
    assert export(StoredDocument(as_text(models), {"b"}), "b") == export(wanted, "b")
