"""Files of samples: checked, kept once, gone with their sample; and undo of all of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from support.clouds import pcd
from support.populating import Field, Picture, annotations, box, field

from tintype_studio import clock
from tintype_studio.catalog.ingest import tier_of
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    TintypeError,
    TooLarge,
    UndoConflict,
)
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.tiers import TIERS
from tintype_studio.multisensor import file_types
from tintype_studio.multisensor.file_types import file_type
from tintype_studio.multisensor.population import NewSample
from tintype_studio.multisensor.radar import cube_png
from tintype_studio.storage.tables import changes, sample_files
from tintype_studio.studio import Studio

__all__ = ["field"]


def cube() -> bytes:
    return cube_png(np.ones((2, 3, 4, 8), dtype=np.complex64))


def test_every_type_is_checked_as_what_it_says(field: Field, picture: Picture) -> None:
    depth = picture(3, kind="PNG")
    good = {
        "image": picture(1),
        "lidar.pcd": pcd(3),
        "lidar.depth": depth,
        "lidar.reflect": picture(4),
        "radar.pcd": pcd(4),
        "radar.png": cube(),
        "thermal": b"anything",
    }
    names = {kind: f"a{file_type(kind).suffix}" for kind in good}
    (done,) = field.populate(NewSample(image_name="a.jpg", expected=names))
    for kind, data in good.items():
        bad = (b"", data[: len(data) // 2]) if kind != "thermal" else (b"",)
        for broken in bad:
            with pytest.raises(InvalidInput):
                field.put(done, broken, kind)
        assert field.put(done, data, kind)
        assert not field.put(done, data, kind)
    found = field.sample(done)
    assert {kind: (f.filename, f.size) for kind, f in found.files.items()} == {
        kind: (names[kind], len(data)) for kind, data in good.items()
    }
    assert {field.studio.blobs.get(f.sha256) for f in found.files.values()} == set(good.values())


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("LIDAR.PNG", "lidar.depth"),
        ("depthmap", "lidar.depth"),
        ("lidar.jpg", "lidar.reflect"),
        ("pcd", "lidar.pcd"),
        ("cube", "radar.png"),
        ("thermal.png", "thermal.png"),
    ],
)
def test_types_have_other_names(alias: str, name: str) -> None:
    assert file_type(alias).name == name


def test_no_file_is_larger_than_its_type_allows(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(file_types.FILE_TYPES["lidar.pcd"], max_bytes=100)
    monkeypatch.setitem(file_types.FILE_TYPES, "lidar.pcd", small)
    with pytest.raises(TooLarge):
        field.studio.population.stage(pcd(9), "lidar.pcd", "a.pcd")


def test_a_heic_becomes_a_png(field: Field, picture: Picture) -> None:
    (done,) = field.populate(NewSample(expected={"image": "a.HEIC"}))
    field.put(done, picture(1, kind="HEIF"))
    found = field.sample(done)
    assert (found.filename, found.files["image"].filename, found.width) == ("a.png", "a.png", 24)


def test_a_turned_picture_has_its_upright_size(field: Field, picture: Picture) -> None:
    (done,) = field.populate(
        NewSample(
            image_name="a.jpg",
            width=24,
            height=16,
            annotations=annotations(box(12, 4, 6, 4)),
            expected={"image": "a.jpg"},
        )
    )
    field.put(done, picture(1, orientation=6))
    found = field.sample(done)
    assert (found.width, found.height) == (16, 24)
    assert found.annotations[0].bounding_box.model_dump() == {  # type: ignore[union-attr]
        "x": 8,
        "y": 6,
        "w": 4,
        "h": 6,
    }


def test_links_are_good_for_one_file_and_a_day(field: Field, picture: Picture, move_clock: Any) -> None:
    (done,) = field.populate(NewSample(expected={"image": "a.jpg"}))
    token = field.studio.sample_links.tokens(field.acts(), done)["image"]
    other = field.studio.signer.token({"op": "put", "key": "k", "max": 1}, 60)
    for wrong in ("", "x.y", token[:-2], other):
        with pytest.raises(Forbidden) as refused:
            field.studio.sample_links.slot(wrong)
        assert refused.value.code == "invalid_link"
    move_clock(timedelta(hours=23))
    assert field.studio.sample_links.receive(field.studio.sample_links.slot(token), picture(1))
    move_clock(timedelta(hours=25))
    with pytest.raises(Forbidden):
        field.studio.sample_links.slot(token)


def test_a_file_for_a_sample_that_is_gone_is_refused(
    field: Field, picture: Picture, stranger: Principal, studio: Studio
) -> None:
    (done,) = field.populate(NewSample(expected={"image": "a.jpg"}))
    staged = studio.population.stage(picture(1), "image", "a.jpg")
    for who, row, uuid in (
        (stranger, done.row_id, done.id),
        (field.owner, done.row_id, clock.new_id()),
        (field.owner, 10**9, done.id),
    ):
        with pytest.raises(NotFound):
            studio.population.attach(who, row, uuid, staged)
    studio.batch.delete(field.acts(), "signs", [done.id])
    before = field.rows()
    with pytest.raises(NotFound):
        field.put(done, picture(1))
    assert field.rows() == before


def test_of_many_at_once_only_the_bad_are_refused(field: Field, picture: Picture) -> None:
    done = field.populate(*(NewSample(expected={"image": f"{n}.jpg"}) for n in range(4)))
    links = field.studio.sample_links
    slots = [links.slot(links.tokens(field.acts(), each)["image"]) for each in done]
    field.put(done[2], picture(9))
    outcomes = links.receive_many(
        [(slots[0], picture(0)), (slots[1], b"no picture"), (slots[2], picture(2)), (slots[3], picture(3))]
    )
    assert [outcome if isinstance(outcome, bool) else outcome.code for outcome in outcomes] == [
        True,
        "invalid_image",
        "file_exists",
        True,
    ]
    assert [len(field.sample(each).files) for each in done] == [1, 0, 1, 1]


def test_the_tier_limits_what_comes(field: Field, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = field.owner.tier
    (first,) = field.populate(NewSample(expected={"image": "a.jpg", "lidar.pcd": "a.pcd"}))
    field.put(first, picture(1))
    monkeypatch.setitem(TIERS, tier, replace(tier_of(tier), max_images=1))
    before = field.rows()
    with pytest.raises(Conflict) as full:
        field.populate(NewSample(expected={"image": "b.jpg"}))
    assert (full.value.code, field.rows()) == ("tier_limit", before)
    monkeypatch.setitem(
        TIERS, tier, replace(tier_of(tier), max_images=9, max_storage_bytes=len(picture(1)) + 10)
    )
    with pytest.raises(Conflict) as full:
        field.put(first, pcd(3), "lidar.pcd")
    assert (full.value.code, field.rows()) == ("tier_limit", before)


def test_undoing_a_population_takes_its_files_along(field: Field, picture: Picture) -> None:
    who = field.acts()
    seen, scan = field.populate(
        NewSample(expected={"image": "a.jpg"}, annotations=annotations(box(0, 0, 1, 1))),
        NewSample(expected={"lidar.pcd": "b.pcd"}),
        who=who,
    )
    field.put(seen, picture(1), who=who)
    field.put(scan, pcd(3), "lidar.pcd", who=who)
    full = field.assert_counters_true()
    assert (full["image_count"], full["completed_image_count"], full["annotation_count"]) == (1, 1, 1)
    undo = field.acts()
    field.studio.undo.call(undo, who.call_id or "")
    assert field.page() == []
    assert set(field.assert_counters_true().values()) == {0}
    field.studio.undo.call(field.acts(), undo.call_id or "")
    assert [sorted(s.files) for s in field.page()] == [["image"], ["lidar.pcd"]]
    assert field.assert_counters_true() == full


def test_files_of_samples_that_were_there_are_undone_alone(
    field: Field, picture: Picture, move_clock: Any
) -> None:
    first, second = field.acts(), field.acts()
    new = NewSample(uuid=clock.new_id(), image_name="a.jpg", status=Status.COMPLETE)
    (done,) = field.populate(new, who=first)
    (again,) = field.populate(replace(new, expected={"image": "a.jpg", "lidar.pcd": "a.pcd"}), who=second)
    field.put(again, picture(1), who=second)
    field.put(again, pcd(3), "lidar.pcd", who=second)
    with pytest.raises(UndoConflict):
        field.studio.undo.call(field.acts(), first.call_id or "")
    undo = field.acts()
    assert field.studio.undo.call(undo, second.call_id or "").counts == {"sample_files.added": 2}
    assert field.sample(done).files == {}
    assert field.assert_counters_true()["image_count"] == 0
    # The bytes stay for a month, so that the undo can be undone.
    move_clock(timedelta(days=29))
    field.studio.recycle_bin.sweep()
    redo = field.acts()
    field.studio.undo.call(redo, undo.call_id or "")
    assert sorted(field.sample(done).files) == ["image", "lidar.pcd"]
    assert field.assert_counters_true()["completed_image_count"] == 1
    field.studio.undo.call(field.acts(), redo.call_id or "")
    move_clock(timedelta(days=60))
    field.studio.recycle_bin.sweep()
    assert list(field.studio.blobs.digests()) == []


def test_changes_of_columns_are_undone(field: Field) -> None:
    uuid = clock.new_id()
    (done,) = field.populate(NewSample(uuid=uuid, image_name="a", group="train", frame_number=1))
    before, who = field.sample(done), field.acts()
    field.populate(
        NewSample(uuid=uuid, image_name="a", group="val", frame_number=2, width=40, height=20), who=who
    )
    (change,) = field.studio.changes.of_call(field.owner, who.call_id or "")
    assert (change.kind.value, change.count) == ("samples.updated", 1)
    undo = field.acts()
    field.studio.undo.call(undo, who.call_id or "")
    back = field.sample(done)
    assert (back.group, back.frame_number, back.width) == (before.group, 1, None)
    field.studio.undo.call(field.acts(), undo.call_id or "")
    assert (field.sample(done).group, field.sample(done).width) == ("val", 40)


def test_what_goes_for_good_takes_the_bytes_of_all_sensors(field: Field, picture: Picture) -> None:
    both, scan = field.populate(
        NewSample(expected={"image": "a.jpg", "lidar.pcd": "a.pcd"}),
        NewSample(expected={"radar.pcd": "b.pcd"}),
    )
    field.put(both, picture(1))
    field.put(both, pcd(3), "lidar.pcd")
    field.put(scan, pcd(4), "radar.pcd")
    field.studio.samples.delete(field.acts(), both.id)
    assert field.assert_counters_true()["total_size"] == len(pcd(4))
    field.studio.batch.update(field.acts(), "signs", [both.id], archived=False)
    assert field.assert_counters_true()["image_count"] == 1
    field.studio.batch.delete(field.acts(), "signs", [both.id, scan.id], permanent=True)
    assert set(field.assert_counters_true().values()) == {0}
    field.studio.recycle_bin.sweep()
    assert list(field.studio.blobs.digests()) == []


def test_tools_of_pictures_pass_over_what_has_none(field: Field, picture: Picture) -> None:
    seen, scan = field.populate(NewSample(expected={"image": "a.jpg"}), NewSample(expected={"pcd": "b.pcd"}))
    field.put(seen, picture(1))
    field.put(scan, pcd(3), "lidar.pcd")
    copied = field.studio.batch.copy(field.acts(), "signs", [seen.id, scan.id], "/copies")
    assert (copied.processed, [f.id for f in copied.failed]) == (1, [scan.id])
    done = field.studio.batch.update(field.acts(), "signs", [seen.id, scan.id], status=Status.COMPLETE)
    assert done.processed == 2
    assert field.assert_counters_true()["completed_image_count"] == 1
    with pytest.raises(TintypeError):
        field.studio.samples.get(field.owner, scan.id)


def test_no_history_row_is_written_for_files_of_new_samples(field: Field, picture: Picture) -> None:
    who = field.acts()
    done = field.populate(*(NewSample(expected={"image": f"{n}.jpg"}) for n in range(3)), who=who)
    for each in done:
        field.put(each, picture(each.row_id), who=who)
    with field.studio.database.read() as connection:
        kinds = list(connection.execute(sa.select(changes.c.kind, changes.c.count)).all())
        files = connection.execute(sa.select(sa.func.count()).select_from(sample_files)).scalar_one()
    assert (kinds, files) == ([("samples.added", 3)], 3)
