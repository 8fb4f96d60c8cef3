"""What is exported and imported again is what it was, but for what each format cannot hold."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from tintype_studio.annotations.geometry import ANNOTATIONS, Annotation, enclosing_box, with_box
from tintype_studio.annotations.masks import array_of, outline_of
from tintype_studio.errors import InvalidInput
from tintype_studio.formats import WRITERS
from tintype_studio.formats.base import ExportClass, ExportItem
from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.source import open_source
from tintype_studio.formats.regions import is_whole
from tintype_studio.formats.shapes import ring_of
from tintype_studio.names import clean_folder, clean_name

WIDTH, HEIGHT = 64, 48
CREATED = datetime(2026, 11, 25, tzinfo=UTC)
ALL = ("pictograph", "coco", "yolo", "cvat", "pascal_voc", "labelme", "csv")


# Folders of these names are left behind by systems, and never read.
JUNK = {"__MACOSX", ".git", ".svn", ".ipynb_checkpoints"}


def _is_name(text: str) -> bool:
    try:
        return clean_name(text, "x") == text and text not in JUNK
    except InvalidInput:
        return False


_letters = st.characters(
    exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cn", "Co"), exclude_characters="/\\?#%\ufffe\uffff"
)
names = st.one_of(
    st.sampled_from(
        [
            "stop",
            "car",
            "tail light",
            "train",
            "images",
            "labels",
            "=1+1",
            "'quoted'",
            "a:b",
            "a,b",
            "<x>",
            "交通",
            "yes",
            "1",
        ]
    ),
    st.text(_letters, min_size=1, max_size=12),
).filter(_is_name)
folders = st.lists(names, max_size=2).map(lambda parts: "/" + "/".join(parts))
coordinates = st.one_of(st.floats(0, 40, width=32), st.integers(0, 40).map(float), st.floats(-20, 100))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e9, 1e9)
    | st.text(max_size=8).filter(lambda t: t.isprintable()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc é", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
attributes = st.lists(
    st.one_of(
        st.sampled_from(["wet", "old"]),
        st.dictionaries(st.text("abc", min_size=1, max_size=4), values, max_size=2),
        values,
    ),
    max_size=3,
)
points = st.tuples(coordinates, coordinates)
rings = st.lists(points, min_size=3, max_size=7)


def _xy(point: tuple[float, float]) -> dict[str, float]:
    return {"x": point[0], "y": point[1]}


@st.composite
def annotations(draw: st.DrawFn, classes: list[str]) -> Annotation:
    head = {
        "id": "x",
        "name": draw(st.sampled_from(classes)),
        "confidence": draw(st.sampled_from([1.0, 0.5, 0.123456789]) | st.floats(0, 1)),
        "attributes": draw(attributes),
    }
    kind = draw(st.sampled_from(["bbox", "polygon", "polygon", "polyline", "keypoint"]))
    shape: dict[str, Any]
    if kind == "bbox":
        x, y = draw(points)
        shape = {
            "bounding_box": {"x": x, "y": y, "w": draw(st.floats(0.25, 60)), "h": draw(st.floats(0.25, 60))}
        }
    elif kind == "polygon":
        paths = [[_xy(p) for p in ring] for ring in draw(st.lists(rings, min_size=1, max_size=3))]
        shape = {"polygon": {"paths": paths}}
    elif kind == "polyline":
        shape = {"polyline": {"path": [_xy(p) for p in draw(st.lists(points, min_size=2, max_size=6))]}}
    else:
        shape = {"keypoint": _xy(draw(points))}
    return with_box(ANNOTATIONS.validate_python([{**head, "type": kind, **shape}])[0])


@dataclass
class Given:
    classes: list[ExportClass]
    items: list[ExportItem]


@st.composite
def datasets(draw: st.DrawFn) -> Given:
    listed = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    colors = st.none() | st.sampled_from(["#ff8800", "#00ff7f"])
    kinds = st.none() | st.sampled_from(["bbox", "polygon"])
    classes = [ExportClass(name, draw(colors), draw(kinds)) for name in listed]
    items = []
    for number in range(draw(st.integers(1, 4))):
        found = draw(st.lists(annotations(listed), max_size=4))
        found = [a.model_copy(update={"id": f"a{n}"}) for n, a in enumerate(found)]
        items.append(
            ExportItem(
                image_id=f"id{number}",
                filename=f"{draw(names)}{number}.jpg",
                folder=clean_folder(draw(folders)),
                width=WIDTH,
                height=HEIGHT,
                status=draw(st.sampled_from(["complete", "review"])) if found else "new",
                split=draw(st.sampled_from([None, "train", "val", "test"])),
                annotations=found,
                image=lambda: b"not read here",
            )
        )
    return Given(classes, items)


@dataclass
class Back:
    classes: list[tuple[str, str | None, str | None]]
    items: dict[str, Any]
    documents: dict[str, list[Annotation]]


def trip(format: str, given_: Given) -> Back:
    """Written to a ZIP and read from it."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w") as archive,
        WRITERS[format](archive, dataset_name="d", classes=given_.classes, created_at=CREATED) as writer,
    ):
        for item in given_.items:
            writer.add(item)
        writer.finish()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "export.zip"
        path.write_bytes(out.getvalue())
        with open_source(path) as source:
            reader = open_reader(source)
            assert reader.format == format
            items = {item.path: item for item in reader.items()}
            assert [item.error for item in items.values() if item.error] == []
            documents = {path: item.convert(WIDTH, HEIGHT).annotations for path, item in items.items()}
            classes = [(c.name, c.color, c.type) for c in reader.classes]
            assert all(item.image in source.paths for item in items.values())
    return Back(classes, items, documents)


def path_of(item: ExportItem) -> str:
    return f"{item.folder}/{item.filename}".lstrip("/")


def nears(found: list[float], told: list[float], tolerance: float) -> None:
    assert len(found) == len(told)
    assert np.allclose(found, told, rtol=1e-12, atol=tolerance), (found, told)


def flat(annotation: Any) -> list[float]:
    """All the numbers of a shape."""
    match annotation.type:
        case "bbox":
            box = annotation.bounding_box
            return [box.x, box.y, box.w, box.h]
        case "polygon":
            return [v for ring in annotation.polygon.paths for p in ring for v in (p.x, p.y)]
        case "polyline":
            return [v for p in annotation.polyline.path for v in (p.x, p.y)]
    return [annotation.keypoint.x, annotation.keypoint.y]


def filled(annotation: Any, even_odd: Any) -> np.ndarray:
    paths = [[(p.x, p.y) for p in ring] for ring in annotation.polygon.paths]
    return even_odd(paths, WIDTH, HEIGHT)


def whole(annotation: Any) -> bool:
    """Whether the rings of a polygon can be told one by one."""
    return is_whole([ring_of(path) for path in annotation.polygon.paths])


def same(found: Any, told: Any, *, tolerance: float = 0.0, kept: bool = True) -> None:
    """Equal but for the id; ``kept``: confidence and attributes, too."""
    assert (found.type, found.name) == (told.type, told.name)
    nears(flat(found), flat(told), tolerance)
    if found.type == "polygon":
        assert [len(r) for r in found.polygon.paths] == [len(r) for r in told.polygon.paths]
    if kept:
        assert found.confidence == told.confidence
        assert found.attributes == told.attributes


def same_pixels(found: Any, told: Any, even_odd: Any) -> None:
    """A polygon that went through a mask: its pixels are those whose centre was inside."""
    assert found.name == told.name
    assert (found.confidence, found.attributes) == (told.confidence, told.attributes)
    pixels = array_of(found.mask) if found.type == "mask" else filled(found, even_odd)
    differ = pixels != filled(told, even_odd)
    # A centre that lies on an edge may be counted either way.
    assert not (differ & ~on_edge(told)).any()


def on_edge(annotation: Any) -> np.ndarray:
    py, px = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    near = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for ring in annotation.polygon.paths:
        for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
            dx, dy = b.x - a.x, b.y - a.y
            length = dx * dx + dy * dy
            share = np.clip(((px - a.x) * dx + (py - a.y) * dy) / length, 0, 1) if length else 0.0
            near |= np.hypot(px - a.x - share * dx, py - a.y - share * dy) < 1e-6
    return near


def has_pixels(annotation: Any, even_odd: Any) -> bool:
    return bool(filled(annotation, even_odd).any())


quick = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@quick
@given(datasets())
def test_pictograph_loses_nothing(given_):
    back = trip("pictograph", given_)
    assert back.classes == [(c.name, c.color, c.type) for c in given_.classes]
    for item in given_.items:
        read = back.items[path_of(item)]
        assert (read.folder, read.filename) == (item.folder, item.filename)
        assert (read.split, read.status) == (item.split, item.status)
        assert back.documents[path_of(item)] == list(item.annotations)


@quick
@given(given_=datasets())
def test_coco_loses_polylines_ids_and_the_outlines_of_holes(given_, even_odd):
    back = trip("coco", given_)
    assert [name for name, _, _ in back.classes] == [c.name for c in given_.classes]
    for item in given_.items:
        assert back.items[path_of(item)].split == item.split
        found = iter(back.documents[path_of(item)])
        for told in item.annotations:
            if told.type == "polyline":
                continue
            if told.type != "polygon" or whole(told):
                same(next(found), told)
            elif has_pixels(told, even_odd) or on_edge(told).any():
                peek = next(found, None)
                if peek is None:
                    assert on_edge(told).any()
                    break
                same_pixels(peek, told, even_odd)


@quick
@given(given_=datasets())
def test_csv_loses_ids_and_classes_that_nothing_uses(given_):
    back = trip("csv", given_)
    for item in given_.items:
        assert back.items[path_of(item)].split == item.split
        found = back.documents[path_of(item)]
        assert len(found) == len(item.annotations)
        for one, told in zip(found, item.annotations, strict=True):
            same(one, told, tolerance=1e-12)


@pytest.mark.parametrize("format", ["cvat", "labelme"])
@quick
@given(given_=datasets())
def test_cvat_and_labelme_lose_ids_and_the_outlines_of_holes(format, given_, even_odd):
    back = trip(format, given_)
    colors = [c.color if format == "cvat" else None for c in given_.classes]
    assert back.classes == [(c.name, color, None) for c, color in zip(given_.classes, colors, strict=True)]
    for item in given_.items:
        assert back.items[path_of(item)].split == (item.split if format == "cvat" else None)
        found = iter(back.documents[path_of(item)])
        for told in item.annotations:
            if told.type != "polygon" or whole(told):
                same(next(found), told, tolerance=1e-12)
            elif has_pixels(told, even_odd) or on_edge(told).any():
                peek = next(found, None)
                if peek is None:
                    assert on_edge(told).any()
                    break
                same_pixels(peek, told, even_odd)


@quick
@given(given_=datasets())
def test_pascal_voc_loses_ids_polylines_and_keypoints(given_):
    back = trip("pascal_voc", given_)
    for item in given_.items:
        assert back.items[path_of(item)].split == item.split
        told = [a for a in item.annotations if a.type in {"bbox", "polygon"}]
        found = back.documents[path_of(item)]
        assert len(found) == len(told)
        for one, other in zip(found, told, strict=True):
            same(one, other, tolerance=1e-12)


@quick
@given(given_=datasets())
def test_yolo_loses_all_but_class_and_shape_inside_the_image_to_six_decimals(given_, even_odd):
    back = trip("yolo", given_)
    assert [name for name, _, _ in back.classes] == [c.name for c in given_.classes]
    segmented = any(a.type == "polygon" for item in given_.items for a in item.annotations)
    for item in given_.items:
        renamed = path_of(item).replace("images/", "images_/")
        assert back.items[renamed].split == (item.split or "train")
        for one in back.documents[renamed]:
            assert (one.confidence, one.attributes) == (1.0, [])
            assert one.type in ({"polygon", "bbox"} if segmented else {"bbox"})
        inside = [a for a in item.annotations if a.type == "bbox" and _is_inside(a)]
        found = [a for a in back.documents[renamed]]
        for told in inside:
            box = told.bounding_box
            corners = [box.x, box.y, box.x + box.w, box.y + box.h]
            assert any(np.allclose(_bounds(a), corners, atol=2e-4) and a.name == told.name for a in found)


def _is_inside(annotation: Any) -> bool:
    box = annotation.bounding_box
    return box.x >= 0 and box.y >= 0 and box.x + box.w <= WIDTH and box.y + box.h <= HEIGHT


def _bounds(annotation: Any) -> list[float]:
    x, y, w, h = enclosing_box(annotation)  # not its box, which a thin outline has none of
    return [x, y, x + w, y + h]


def test_compressed_run_lengths_are_read_as_pycocotools_writes_them():
    from tintype_studio.formats.reading.masks import mask_of

    rng = np.random.default_rng(3)
    for _ in range(60):
        height, width = (int(n) for n in rng.integers(1, 70, 2))
        mask = (rng.random((height, width)) < rng.random()).astype(np.uint8)
        rle = coco_mask.encode(np.asfortranarray(mask))
        found = mask_of({"size": [height, width], "counts": rle["counts"].decode()}, width, height, "x")
        assert (found is not None) == mask.any()
        assert found is None or found.counts == rle["counts"].decode()
        outline = None if found is None else outline_of(found)
        paths = [] if outline is None else [[v for p in ring for v in (p.x, p.y)] for ring in outline.paths]
        painted = np.zeros((height, width), dtype=np.uint8)
        for path in paths:
            painted ^= coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([path], height, width)))
        assert (painted == mask).all()
