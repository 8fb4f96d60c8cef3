"""Versions of datasets: made, listed, read, restored, purged; who may see them; what cannot come back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.pictures import jpeg
from support.version_state import counters_are_true, state_of

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput, NotFound, Unavailable, UndoConflict
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.new_sample import NewSample
from tintype_studio.storage.sensor_tables import dataset_versions, version_files
from tintype_studio.storage.tables import samples
from tintype_studio.studio import Studio
from tintype_studio.versions import manifest
from tintype_studio.versions.manifest import SampleRow, Writer, reader_of

CLOUD = (
    b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1\nHEIGHT 1\n"
    b"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 1\nDATA ascii\n1 2 3\n"
)


def act(principal: Principal) -> Principal:
    return replace(principal, call_id=clock.new_id(), tool="a_tool")


def boxes(*names: str) -> list[Any]:
    raw = [
        {"id": f"{n}", "name": name, "bounding_box": {"x": n, "y": 1, "w": 2, "h": 3}}
        for n, name in enumerate(names)
    ]
    return AnnotationList.model_validate({"annotations": raw}).annotations


def add(studio: Studio, owner: Principal, dataset: Dataset, name: str, seed: int = 0) -> str:
    return studio.ingest.add_image(act(owner), dataset, data=jpeg(16, 12, seed=seed), filename=name).id


@pytest.fixture
def images(studio: Studio, owner: Principal, dataset: Dataset) -> list[str]:
    made = [add(studio, owner, dataset, f"{n}.jpg", n) for n in range(3)]
    for image in made:
        studio.documents.save(act(owner), image, boxes("car"))
    return made


def test_a_version_keeps_what_it_counted_and_its_name_is_taken(
    studio: Studio, owner: Principal, images: list[str]
) -> None:
    made = studio.versions.create(act(owner), "signs", name="v1", description="first")
    studio.documents.save(act(owner), images[0], boxes("car", "dog"))
    assert studio.versions.get(owner, "signs", "v1") == made
    assert (made.summary.images, made.summary.annotations, made.summary.labels) == (3, {"bbox": 3}, 1)
    assert studio.versions.now(owner, "signs").summary.annotations == {"bbox": 4}
    with pytest.raises(Conflict) as taken:
        studio.versions.create(act(owner), "signs", name="v1")
    assert taken.value.code == "version_exists"
    with pytest.raises(InvalidInput):
        studio.versions.create(act(owner), "signs", name="a/b")
    with pytest.raises(NotFound) as missing:
        studio.versions.get(owner, "signs", "v2")
    assert "'v1'" in missing.value.fix


def test_equal_states_are_one_file(studio: Studio, owner: Principal, images: list[str]) -> None:
    one = studio.versions.create(act(owner), "signs", name="one")
    two = studio.versions.create(act(owner), "signs", name="two")
    assert one.manifest == two.manifest
    studio.versions.delete(act(owner), "signs", "one")
    studio.recycle_bin.purge(act(owner))
    studio.recycle_bin.sweep()
    assert studio.blobs.exists(two.manifest)
    assert studio.versions.at(owner, "signs", "two").count() == 3


def test_of_another_organization_there_is_nothing(
    studio: Studio, owner: Principal, stranger: Principal, images: list[str]
) -> None:
    studio.versions.create(act(owner), "signs", name="v1")
    versions, who = studio.versions, act(stranger)
    for deed in (
        lambda: versions.list(who, "signs"),
        lambda: versions.get(who, "signs", "v1"),
        lambda: versions.at(who, "signs", "v1"),
        lambda: versions.compare(who, "signs", "v1"),
        lambda: versions.changelog(who, "signs"),
        lambda: versions.now(who, "signs"),
        lambda: versions.restore(who, "signs", "v1"),
        lambda: versions.delete(who, "signs", "v1"),
        lambda: versions.create(who, "signs", name="v2"),
    ):
        with pytest.raises(NotFound) as missing:
            deed()
        assert missing.value.code == "dataset_not_found"
    studio.datasets.create(act(stranger), name="signs")
    with pytest.raises(NotFound):
        versions.get(who, "signs", "v1")


def test_what_was_purged_stays_away_and_is_named(
    studio: Studio, owner: Principal, images: list[str], dataset: Dataset
) -> None:
    studio.versions.create(act(owner), "signs", name="v1")
    studio.batch.delete(act(owner), "signs", images[:2])
    studio.batch.delete(act(owner), "signs", images[:1], permanent=True)
    # Its row id goes to a newcomer, which is not taken for it.
    late = add(studio, owner, dataset, "late.jpg", 9)
    at = studio.versions.at(owner, "signs", "v1")
    assert at.count() == 2
    assert [s.id for s in at.page()] == images[1:]
    done = studio.versions.restore(act(owner), "signs", "v1")
    assert (done.lost, done.lost_names, done.brought_back, done.deleted) == (1, ["/0.jpg"], 1, 1)
    assert [s.id for s in studio.multisensor.page(dataset)] == images[1:]
    counters_are_true(studio, owner, "signs")
    assert late not in {s.id for s in studio.multisensor.page(dataset)}


def test_two_images_that_swapped_their_places_swap_back(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    a, b = add(studio, owner, dataset, "a.jpg"), add(studio, owner, dataset, "b.jpg", 1)
    studio.batch.move(act(owner), "signs", [b], "/x")
    studio.versions.create(act(owner), "signs", name="v1")
    with studio.database.write() as connection:
        for uuid, name in ((a, "tmp"), (b, "a.jpg"), (a, "b.jpg")):
            folder = "/" if uuid == b else "/x"
            connection.execute(
                sa.update(samples).where(samples.c.uuid == uuid).values(filename=name, folder=folder)
            )
    state = state_of(studio, "signs")
    call = act(owner)
    assert studio.versions.restore(call, "signs", "v1").updated == 2
    places = {s.id: (s.folder, s.filename) for s in studio.multisensor.page(dataset)}
    assert places == {a: ("/", "a.jpg"), b: ("/x", "b.jpg")}
    studio.undo.call(act(owner), call.call_id or "")
    assert state_of(studio, "signs") == state


def test_a_file_that_a_restore_takes_away_is_kept_for_its_undo(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    (made,) = studio.population.populate(act(owner), dataset, [NewSample(image_name="a.jpg")])
    studio.versions.create(act(owner), "signs", name="v1")
    staged = studio.population.stage(CLOUD, "lidar.pcd", "a.pcd")
    studio.population.attach(act(owner), made.row_id, made.id, staged)
    call = act(owner)
    assert studio.versions.restore(call, "signs", "v1").files == 1
    assert studio.multisensor.get(owner, made.id).files == {}
    studio.recycle_bin.sweep()
    undone = act(owner)
    studio.undo.call(undone, call.call_id or "")
    (file,) = studio.multisensor.get(owner, made.id).files.values()
    assert studio.blobs.get(file.sha256) == CLOUD
    counters_are_true(studio, owner, "signs")
    # Once more away, and what was kept is purged: then there is no way back.
    call = act(owner)
    studio.versions.restore(call, "signs", "v1")
    studio.recycle_bin.purge(act(owner))
    studio.recycle_bin.sweep()
    assert not studio.blobs.exists(file.sha256)
    with studio.database.read() as connection:
        assert connection.execute(sa.select(version_files)).all() == []
        assert len(connection.execute(sa.select(dataset_versions)).all()) == 1
    with pytest.raises(Conflict) as gone:
        studio.undo.call(act(owner), call.call_id or "")
    assert gone.value.code == "purged"


def test_the_bytes_of_a_file_are_gone_and_the_rest_is_restored(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    staged = studio.population.stage(CLOUD, "lidar.pcd", "a.pcd")
    new = NewSample(image_name="a.jpg", files=[staged])
    call = act(owner)
    studio.population.populate(act(owner), dataset, [NewSample(image_name="b.jpg")])
    (made,) = studio.population.populate(call, dataset, [new])
    studio.versions.create(act(owner), "signs", name="v1")
    with studio.database.write() as connection:
        connection.execute(sa.text("DELETE FROM sample_files"))
        connection.execute(sa.text("UPDATE samples SET split = 'val'"))
    studio.blobs.delete(hashlib.sha256(CLOUD).hexdigest())
    done = studio.versions.restore(act(owner), "signs", "v1")
    assert (done.files_lost, done.files, done.updated) == (1, 0, 2)
    assert studio.multisensor.get(owner, made.id).group is None


def test_sizes_that_are_learned_later_stay_and_annotations_lie_where_they_lay(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    raw = [{"id": "1", "name": "car", "bounding_box": {"x": 0.25, "y": 0.5, "w": 0.25, "h": 0.25}}]
    half = AnnotationList.model_validate({"annotations": raw}).annotations
    (made,) = studio.population.populate(
        act(owner), dataset, [NewSample(image_name="a.jpg", annotations=half)], learn=True
    )
    studio.versions.create(act(owner), "signs", name="v1")
    studio.population.set_sizes(act(owner), dataset, [(made.id, 64, 32)])
    at = studio.versions.at(owner, "signs", "v1").page()[0]
    assert (at.width, at.entries[0]["bounding_box"]) == (64, {"x": 16.0, "y": 16.0, "w": 16.0, "h": 8.0})
    assert studio.versions.restore(act(owner), "signs", "v1").nothing


def test_a_deleted_version_comes_back_unless_its_name_is_taken(
    studio: Studio, owner: Principal, images: list[str]
) -> None:
    created, deleted = act(owner), act(owner)
    studio.versions.create(created, "signs", name="v1")
    studio.versions.delete(deleted, "signs", "v1")
    assert studio.versions.list(owner, "signs") == []
    again = act(owner)
    studio.versions.create(again, "signs", name="v1")
    with pytest.raises(Conflict) as taken:
        studio.undo.call(act(owner), deleted.call_id or "")
    assert taken.value.code == "name_taken"
    studio.undo.call(act(owner), again.call_id or "")
    studio.undo.call(act(owner), deleted.call_id or "")
    assert [v.name for v in studio.versions.list(owner, "signs")] == ["v1"]
    studio.versions.delete(act(owner), "signs", "v1")
    studio.recycle_bin.purge(act(owner))
    studio.recycle_bin.sweep()
    with studio.database.read() as connection:
        assert connection.execute(sa.select(dataset_versions.c.hidden)).all() == []


def test_purging_keeps_what_is_younger_and_what_is_alive(
    studio: Studio, owner: Principal, images: list[str], move_clock: Any
) -> None:
    studio.versions.create(act(owner), "signs", name="old")
    studio.versions.create(act(owner), "signs", name="kept")
    studio.versions.delete(act(owner), "signs", "old")
    move_clock(timedelta(days=10))
    young = act(owner)
    studio.documents.save(act(owner), images[0], boxes())
    studio.versions.restore(young, "signs", "kept")
    studio.recycle_bin.purge(act(owner), older_than=timedelta(days=5))
    studio.undo.call(act(owner), young.call_id or "")
    assert [v.name for v in studio.versions.list(owner, "signs")] == ["kept"]


def test_a_purged_dataset_takes_its_versions_with_it(
    studio: Studio, owner: Principal, images: list[str]
) -> None:
    version = studio.versions.create(act(owner), "signs", name="v1")
    studio.datasets.delete(act(owner), "signs")
    studio.recycle_bin.purge(act(owner))
    studio.recycle_bin.sweep()
    assert not studio.blobs.exists(version.manifest)


def test_what_was_done_before_a_restore_is_undone_after_it(
    studio: Studio, owner: Principal, images: list[str]
) -> None:
    studio.versions.create(act(owner), "signs", name="v1")
    saved, restored, later = act(owner), act(owner), act(owner)
    studio.documents.save(saved, images[0], boxes("car", "car"))
    studio.versions.restore(restored, "signs", "v1")
    with pytest.raises(UndoConflict) as blocked:
        studio.undo.call(act(owner), saved.call_id or "")
    assert blocked.value.details["calls"][0]["call_id"] == restored.call_id
    studio.documents.save(later, images[1], boxes())
    with pytest.raises(UndoConflict):
        studio.undo.call(act(owner), restored.call_id or "")
    for call in (later, restored, saved):
        studio.undo.call(act(owner), call.call_id or "")
    assert studio.versions.compare(owner, "signs", "v1").nothing


def test_the_current_version_is_the_one_made_or_restored_last(
    studio: Studio, owner: Principal, images: list[str]
) -> None:
    def current() -> list[str]:
        return [v.name for v in studio.versions.list(owner, "signs") if v.current]

    studio.versions.create(act(owner), "signs", name="v1")
    studio.documents.save(act(owner), images[0], boxes())
    studio.versions.create(act(owner), "signs", name="v2")
    assert current() == ["v2"]
    call = act(owner)
    studio.versions.restore(call, "signs", "v1")
    assert current() == ["v1"]
    studio.undo.call(act(owner), call.call_id or "")
    assert current() == ["v2"]
    studio.versions.delete(act(owner), "signs", "v2")
    assert current() == ["v1"]


def test_the_changelog_is_read_page_by_page_and_between_versions(
    studio: Studio, owner: Principal, images: list[str]
) -> None:
    versions = studio.versions
    first = versions.create(act(owner), "signs", name="v1")
    studio.documents.save(act(owner), images[0], boxes())
    studio.batch.delete(act(owner), "signs", images[1:2])
    last = versions.create(act(owner), "signs", name="v2")
    studio.documents.save(act(owner), images[0], boxes("car"))
    between = versions.changelog(owner, "signs", old="v1", new="v2")
    assert [(e.entity, e.operation, e.count) for e in between] == [
        ("annotation", "update", 1),
        ("image", "delete", 1),
    ]
    assert between[0].subject == images[0]
    assert between[0].subject_row is not None
    assert first.serial < between[0].serial <= last.serial == between[-1].serial
    assert versions.changelog_count(owner, "signs", old="v2") == 1
    assert versions.changelog_count(owner, "signs", entities=["image"]) == 4
    seen: list[int] = []
    while page := versions.changelog(owner, "signs", after=seen[-1] if seen else 0, limit=2):
        seen += [entry.serial for entry in page]
    assert len(seen) == versions.changelog_count(owner, "signs") == len(set(seen))
    assert versions.changelog(owner, "signs", old="v2", new="v1") == []


def test_a_damaged_file_is_told_and_nothing_is_done(
    studio: Studio, owner: Principal, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.versions.create(act(owner), "signs", name="v1")
    studio.documents.save(act(owner), images[0], boxes())
    state = state_of(studio, "signs")
    real = studio.blobs.part
    for broken in (
        lambda s, start, length: bytes(length),
        lambda s, start, length: real(s, start, length)[::-1],
        lambda s, start, length: real(s, start, length)[: length // 2],
    ):
        monkeypatch.setattr(studio.blobs, "part", broken)
        with pytest.raises(Unavailable) as told:
            studio.versions.restore(act(owner), "signs", "v1")
        assert told.value.code == "version_damaged"
        assert state_of(studio, "signs") == state


def row(number: int, **changes: Any) -> SampleRow:
    empty = dict.fromkeys(SampleRow._fields)
    return SampleRow(**{**empty, "id": number, "uuid": f"u{number}", "files": [], "revisions": [], **changes})


def test_a_manifest_is_read_in_parts_whose_borders_depend_on_ids_alone(tmp_path: Any) -> None:
    def written(rows: list[SampleRow]) -> Any:
        file = (tmp_path / f"{clock.new_id()}").open("w+b")
        writer = Writer(file)
        for each in rows:
            writer.add(each)
        writer.finish({"classes": []})
        file.flush()
        return reader_of(file)

    ids = [1, 5, manifest.SPAN, manifest.SPAN + 1, 10 * manifest.SPAN]
    whole, less = written([row(i) for i in ids]), written([row(i) for i in ids if i != 5])
    assert [r.id for r in whole.all_rows()] == ids
    assert (whole.samples, len(whole.blocks)) == (5, 3)
    same = [a.digest == b.digest for a, b in zip(whole.blocks, less.blocks, strict=True)]
    assert same == [False, True, True]
    assert written([]).samples == 0
