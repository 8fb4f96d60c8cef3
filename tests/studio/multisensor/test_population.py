"""Samples come in: once, whatever is sent again; all of a call or none; nothing of others is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.clouds import pcd
from support.populating import SPACE, Field, Picture, annotations, box, field

from tintype_studio import clock
from tintype_studio.annotations.geometry import PolygonAnnotation
from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.population import NewSample
from tintype_studio.multisensor.sample_meta import Location, SampleMeta, meta_of
from tintype_studio.studio import Studio

__all__ = ["field"]


def test_a_sample_comes_with_all_that_is_known_of_it(field: Field) -> None:
    cloud = field.studio.population.stage(pcd(3), "pcd", "front.lidar.pcd")
    meta = meta_of({"location": {"lat": 45.5, "lon": -73.6}, "degradation": "rain", "timing": {"t": 5}})
    (done,) = field.populate(
        NewSample(
            image_name="front.jpg",
            group="train",
            sequence_name="drive",
            sequence_description="at night",
            frame_number=7,
            width=200,
            height=100,
            meta=meta,
            annotations=annotations(box(20, 10, 40, 30, object_id="o", box3d=SPACE), {"box3d": SPACE}),
            files=[cloud],
            expected={"image": "front.jpg"},
        )
    )
    found = field.sample(done)
    assert (done.created, done.expected) == (True, {"image": "front.jpg"})
    assert (found.folder, found.filename, found.group, found.frame_number) == (
        "/drive",
        "front.jpg",
        "train",
        7,
    )
    assert found.sequence is not None
    assert (found.sequence.name, found.sequence.description) == ("drive", "at night")
    assert (found.width, found.height, found.meta) == (200, 100, meta)
    assert [(f.type, f.filename, f.size) for f in found.files.values()] == [
        ("lidar.pcd", "front.lidar.pcd", len(pcd(3)))
    ]
    assert [a.type for a in found.annotations] == ["bbox", "box3d"]
    assert (found.status, found.annotation_count) == (Status.COMPLETE, 2)
    # Without its picture it is in no list of images, nor counted as one.
    assert field.studio.samples.page(field.dataset, limit=10) == []
    assert field.assert_counters_true() == {
        "image_count": 0,
        "completed_image_count": 0,
        "annotation_count": 2,
        "total_size": len(pcd(3)),
    }


def test_what_is_sent_again_changes_nothing(field: Field) -> None:
    news = [
        NewSample(
            image_name=f"{n}.jpg",
            uuid=clock.new_id(),
            group="val",
            width=40,
            height=30,
            annotations=annotations(box(1, 2, 3, 4)),
            expected={"image": f"{n}.jpg"},
        )
        for n in range(5)
    ]
    first = field.populate(*news)
    before = field.rows()
    again = field.populate(*news)
    assert [(p.id, p.created, p.changed, p.expected) for p in again] == [
        (p.id, False, False, p.expected) for p in first
    ]
    assert field.rows() == before


def test_one_that_lost_its_uuid_is_known_by_its_place(field: Field, picture: Picture) -> None:
    new = NewSample(image_name="a.jpg", group="val", expected={"image": "a.jpg"})
    (first,) = field.populate(new)
    # Its picture never came, so whoever comes with this name is that sample.
    (second,) = field.populate(NewSample(image_name="a.jpg", group="train", expected={"image": "a.jpg"}))
    assert (second.id, second.created, second.changed) == (first.id, False, True)
    assert second.sent_uuid != second.id
    assert field.put(second, picture(1))
    # The picture is there: now only one that says the same is it, and its file will tell.
    (third,) = field.populate(NewSample(image_name="a.jpg", expected={"image": "a.jpg"}))
    assert (third.id, third.changed) == (first.id, False)
    assert not field.put(third, picture(1))
    with pytest.raises(Conflict) as other:
        field.put(third, picture(2))
    assert other.value.code == "file_exists"
    before = field.rows()
    for differs in (
        {"group": "val"},
        {"frame_number": 3},
        {"annotations": annotations(box(0, 0, 0.5, 0.5))},
    ):
        with pytest.raises(Conflict) as taken:
            field.populate(
                NewSample(image_name="b.jpg"),
                NewSample(image_name="a.jpg", expected={"image": "a.jpg"}, **differs),  # type: ignore[arg-type]
            )
        assert taken.value.code == "sample_exists"
    assert field.rows() == before


def test_a_uuid_that_something_else_has_is_left_to_it(
    field: Field, stranger: Principal, studio: Studio
) -> None:
    theirs = studio.datasets.create(stranger, name="theirs")
    taken = clock.new_id()
    (first,) = studio.population.populate(stranger, theirs, [NewSample(uuid=taken, image_name="a.jpg")])
    assert first.id == taken
    (mine,) = field.populate(NewSample(uuid=taken, image_name="a.jpg"))
    assert (mine.created, mine.sent_uuid) == (True, taken)
    assert mine.id != taken
    (again,) = field.populate(NewSample(uuid=taken, image_name="a.jpg"))
    assert (again.id, again.created) == (mine.id, False)
    with pytest.raises(NotFound):
        studio.multisensor.get(field.owner, taken)


def test_samples_learn_from_those_that_are_sent_again(field: Field) -> None:
    uuid = clock.new_id()
    field.populate(
        NewSample(uuid=uuid, image_name="a.jpg", meta=SampleMeta(source="drive 1", degradation="rain"))
    )
    (done,) = field.populate(
        NewSample(
            uuid=uuid,
            image_name="a.jpg",
            group="test",
            width=400,
            height=200,
            meta=SampleMeta(degradation="fog", location=Location(lat=1, lon=2)),
            annotations=annotations(box(40, 20, 80, 100)),
        )
    )
    found = field.sample(done)
    assert (done.changed, found.group, found.width, found.height) == (True, "test", 400, 200)
    assert found.meta == SampleMeta(source="drive 1", degradation="fog", location=Location(lat=1, lon=2))
    assert (found.status, found.annotation_count) == (Status.COMPLETE, 1)
    # Not told means unknown, not gone.
    (quiet,) = field.populate(NewSample(uuid=uuid, image_name="a.jpg"))
    assert (quiet.changed, field.sample(quiet)) == (False, found)


def test_annotations_keep_their_place_when_the_size_is_learned(field: Field, picture: Picture) -> None:
    ring = [{"x": 0.1, "y": 0.2}, {"x": 0.4, "y": 0.2}, {"x": 0.4, "y": 0.6}]
    (done,) = field.populate(
        NewSample(
            image_name="a.jpg",
            annotations=annotations({"polygon": {"paths": [ring]}}, box(0.123456, 0.5, 0.25, 0.3)),
            expected={"image": "a.jpg"},
        )
    )
    assert field.sample(done).width is None
    field.put(done, picture(1, size=(640, 480)))
    found = field.sample(done)
    outline, bounds = found.annotations
    assert isinstance(outline, PolygonAnnotation)
    assert [(p.x / 640, p.y / 480) for p in outline.polygon.paths[0]] == [(p["x"], p["y"]) for p in ring]
    assert outline.bounding_box is not None
    assert outline.bounding_box.x == pytest.approx(64)
    # Clients read single precision, which is exact.
    assert np.float32(bounds.bounding_box.x / 640) == np.float32(0.123456)  # type: ignore[union-attr]
    # Told wrongly, the size is put right by the picture.
    (wrong,) = field.populate(
        NewSample(
            image_name="b.jpg",
            width=10,
            height=10,
            annotations=annotations(box(1, 2, 3, 4)),
            expected={"image": "b.jpg"},
        )
    )
    field.put(wrong, picture(2, size=(100, 50)))
    (moved,) = field.sample(wrong).annotations
    assert moved.bounding_box.model_dump() == {"x": 10, "y": 10, "w": 30, "h": 20}  # type: ignore[union-attr]


def test_sizes_are_told_where_no_picture_tells_them(field: Field, picture: Picture) -> None:
    bare, seen = field.populate(
        NewSample(image_name="a.jpg", annotations=annotations(box(0.5, 0.5, 0.25, 0.25))),
        NewSample(image_name="b.jpg", expected={"image": "b.jpg"}),
    )
    field.put(seen, picture(1, size=(24, 16)))
    who = field.acts()
    sizes = [(bare.id, 200, 100), (seen.id, 5, 5), (clock.new_id(), 1, 1)]
    assert field.studio.population.set_sizes(who, field.dataset, sizes) == 1
    (moved,) = field.sample(bare).annotations
    assert moved.bounding_box.model_dump() == {"x": 100, "y": 50, "w": 50, "h": 25}  # type: ignore[union-attr]
    assert (field.sample(seen).width, field.sample(seen).height) == (24, 16)
    field.studio.undo.call(field.acts(), who.call_id or "")
    back = field.sample(bare)
    assert back.width is None
    assert back.annotations[0].bounding_box.model_dump() == {  # type: ignore[union-attr]
        "x": 0.5,
        "y": 0.5,
        "w": 0.25,
        "h": 0.25,
    }
    for width in (0, -1, 10**7):
        with pytest.raises(InvalidInput):
            field.studio.population.set_sizes(field.acts(), field.dataset, [(bare.id, width, 10)])


def test_labels_are_learned_with_their_indices(field: Field) -> None:
    def named(*names: str) -> list[Any]:
        return annotations(*({"name": name, **box(0, 0, 1, 1)} for name in names))

    field.populate(
        NewSample(image_name="a", annotations=named("car", "bus"), label_indices={"bus": 40}), learn=True
    )
    # An index that another label has is not taken from it.
    field.populate(
        NewSample(image_name="b", annotations=named("van", "car"), label_indices={"van": 40, "car": 9})
    )
    found = field.studio.datasets.get(field.owner, "signs").classes
    assert [(c.name, c.index) for c in found] == [("car", 41), ("bus", 40), ("van", 42)]
    field.studio.classes.declare(field.acts(), "signs", [DatasetClass(n) for n in ("car", "bus", "van")])
    with pytest.raises(InvalidInput) as unknown:
        field.populate(NewSample(image_name="c", annotations=named("tram")))
    assert unknown.value.code == "unknown_class"
    field.populate(NewSample(image_name="c", annotations=named("tram")), learn=True)
    names = [c.name for c in field.studio.datasets.get(field.owner, "signs").classes]
    assert names == ["car", "bus", "van", "tram"]


def test_other_annotation_sets_leave_status_and_counts_alone(field: Field, studio: Studio) -> None:
    studio.annotation_sets.create(field.acts(), "signs", name="model")
    (done,) = field.populate(
        NewSample(image_name="a", annotations=annotations(box(0, 0, 1, 1))), annotation_set="model"
    )
    found = field.sample(done)
    assert (found.annotation_count, found.status, found.annotations) == (0, Status.NEW, [])
    assert len(field.sample(done, annotation_set="model").annotations) == 1
    with pytest.raises(NotFound):
        field.populate(NewSample(image_name="b"), annotation_set="nobody's")


BAD: list[tuple[str, dict[str, Any]]] = [
    ("invalid_sample", {"uuid": "no uuid"}),
    ("invalid_sample", {"sequence_uuid": "no uuid", "sequence_name": "s"}),
    ("invalid_sample", {"frame_number": -1}),
    ("invalid_sample", {"frame_number": 2**40}),
    ("invalid_sample", {"width": 10}),
    ("invalid_sample", {"width": 0, "height": 10}),
    ("invalid_name", {"image_name": "a/b.jpg"}),
    ("invalid_name", {"image_name": "x" * 300}),
    ("invalid_name", {"group": "a#b"}),
    ("invalid_name", {"sequence_name": ".."}),
    ("unknown_file_type", {"expected": {"gps": "a.txt"}}),
    ("unknown_file_type", {"expected": {"a/b": "a.txt"}}),
    ("invalid_sample", {"expected": {"pcd": "a.pcd", "lidar.pcd": "b.pcd"}}),
    ("unsupported_format", {"expected": {"image": "a.txt"}}),
    ("invalid_sample", {"annotations": [*annotations(box(0, 0, 1, 1)), *annotations(box(0, 0, 1, 1))]}),
    ("invalid_sample", {"annotations": annotations(box(100, 1, 50, 20))}),
]


@pytest.mark.parametrize(("code", "given"), BAD)
def test_one_wrong_sample_stops_the_whole_call(field: Field, code: str, given: dict[str, Any]) -> None:
    before = field.rows()
    good = NewSample(image_name="good.jpg", sequence_name="new", group="new")
    with pytest.raises(TintypeError) as refused:
        field.populate(good, NewSample(**{"image_name": "bad.jpg", **given}))
    assert refused.value.code == code
    assert refused.value.message.startswith("Sample 2")
    assert field.rows() == before


def test_a_sample_is_sent_once_in_a_call(field: Field) -> None:
    before = field.rows()
    uuid = clock.new_id()
    for twice in (
        [NewSample(uuid=uuid, image_name="a"), NewSample(uuid=uuid, image_name="b")],
        [NewSample(image_name="a"), NewSample(image_name="a")],
    ):
        with pytest.raises(InvalidInput) as refused:
            field.populate(*twice)
        assert refused.value.code == "duplicate_sample"
    with pytest.raises(InvalidInput):
        field.populate()
    assert field.rows() == before
    field.populate(NewSample(image_name="a"), NewSample(image_name="a", sequence_name="s"))


def test_pages_are_read_by_key_and_counted_without_reading(field: Field, picture: Picture) -> None:
    done = field.populate(
        *(
            NewSample(
                image_name=f"{n:02}.jpg",
                group=("train", "val")[n % 2],
                expected={"image": f"{n}.jpg"} if n < 6 else {},
                files=[field.studio.population.stage(pcd(n), "lidar.pcd", f"{n}.pcd")] if n > 3 else [],
            )
            for n in range(10)
        )
    )
    for each in done[:6]:
        field.put(each, picture(each.row_id))
    everything = [p.row_id for p in done]
    pages, after = [], 0
    while page := field.page(limit=3, after=after):
        pages.append([s.row_id for s in page])
        after = page[-1].row_id
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    assert [row for page in pages for row in page] == everything
    for given, expected in (
        ({"groups": ["val"]}, everything[1::2]),
        ({"types": ["image"]}, everything[:6]),
        ({"types": ["lidar.pcd", "image"], "groups": ["train"]}, everything[::2]),
        ({"types": ["radar.pcd"]}, []),
    ):
        assert [s.row_id for s in field.page(**given)] == expected
        assert field.studio.multisensor.count(field.dataset, **given) == len(expected)
    assert field.studio.multisensor.names(field.dataset, groups=["val"]) == [
        f"{n:02}.jpg" for n in (1, 3, 5, 7, 9)
    ]
    # The lists of images hold those that have a picture, wherever they are asked for.
    listed = [s.row_id for s in field.studio.samples.page(field.dataset, limit=50)]
    by_place = [
        s.row_id
        for n in range(0, 8, 2)
        for s in field.studio.samples.page_at(field.dataset, limit=2, offset=n)
    ]
    assert listed == by_place == everything[:6]
    assert field.studio.samples.count(field.dataset) == 6
