"""The recycle bin: what it lists, what a purge takes, and bytes that go only when nothing names them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.recycling import add, call, everything, listed, rows

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import InvalidInput
from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.keys import Principal
from tintype_studio.storage import sweep
from tintype_studio.storage.sweep import mark_unused
from tintype_studio.storage.tables import (
    annotation_revisions,
    exports,
    samples,
)
from tintype_studio.storage.upkeep_tables import swept_blobs
from tintype_studio.studio import Studio

__all__ = ["add", "call"]


# What is listed


def test_deletions_are_listed_by_call_latest_first(
    studio: Studio, owner: Principal, dataset: Dataset, add: Any, call: Any
) -> None:
    one, two, three, four = (add(name) for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg"))
    calls = [call() for _ in range(3)]
    for deleting, image in ((calls[0], one), (calls[0], two), (calls[1], three)):
        studio.samples.delete(deleting, image.id)
    images = [
        ("images", "signs", 1, three.file_size, calls[1].call_id),
        ("images", "signs", 2, one.file_size + two.file_size, calls[0].call_id),
    ]
    assert listed(studio, owner) == images
    studio.datasets.delete(calls[2], "signs")
    whole = ("dataset", "signs", 1, four.file_size, calls[2].call_id)
    assert listed(studio, owner) == [whole, *images]
    assert [listed(studio, owner, limit=1, offset=n) for n in range(4)] == [
        [whole],
        *([i] for i in images),
        [],
    ]


def test_the_time_of_a_deletion_is_listed(
    studio: Studio, owner: Principal, add: Any, call: Any, move_clock: Any
) -> None:
    image = add("1.jpg")
    move_clock(timedelta(days=3))
    before = clock.now()
    studio.samples.delete(call(), image.id)
    (entry,) = studio.recycle_bin.list(owner)
    assert before <= entry.deleted_at <= clock.now()


def test_an_empty_deleted_dataset_is_listed(
    studio: Studio, owner: Principal, dataset: Dataset, call: Any
) -> None:
    deleting = call()
    studio.datasets.delete(deleting, "signs")
    assert listed(studio, owner) == [("dataset", "signs", 0, 0, deleting.call_id)]


def test_a_deleted_dataset_whose_images_went_before_is_listed(
    studio: Studio, owner: Principal, add: Any, call: Any
) -> None:
    """Otherwise nobody learns which call to undo to get the dataset back."""
    image, first, second = add("1.jpg"), call(), call()
    studio.samples.delete(first, image.id)
    studio.datasets.delete(second, "signs")
    assert listed(studio, owner) == [
        ("dataset", "signs", 0, 0, second.call_id),
        ("images", "signs", 1, image.file_size, first.call_id),
    ]


def test_namesakes_in_the_bin_are_listed_apart(
    studio: Studio, owner: Principal, dataset: Dataset, call: Any
) -> None:
    first, second = call(), call()
    studio.datasets.delete(first, "signs")
    studio.datasets.create(owner, name="signs")
    studio.datasets.delete(second, "signs")
    assert [entry[-1] for entry in listed(studio, owner)] == [second.call_id, first.call_id]


def test_what_was_deleted_outside_of_a_call_is_listed_too(
    studio: Studio, owner: Principal, add: Any, dataset: Dataset
) -> None:
    image = add("1.jpg")
    studio.samples.delete(owner, image.id)
    assert listed(studio, owner) == [("images", "signs", 1, image.file_size, None)]


def test_what_came_back_is_no_longer_listed(studio: Studio, owner: Principal, add: Any, call: Any) -> None:
    image, deleting = add("1.jpg"), call()
    studio.samples.delete(deleting, image.id)
    studio.undo.call(call(), deleting.call_id)
    assert listed(studio, owner) == []


def test_other_organizations_see_and_purge_nothing_of_it(
    studio: Studio, owner: Principal, stranger: Principal, add: Any, call: Any
) -> None:
    image = add("1.jpg")
    studio.samples.delete(call(), image.id)
    studio.datasets.delete(call(), "signs")
    before = everything(studio)
    assert listed(studio, stranger) == []
    for name in (None, "signs"):
        purged = studio.recycle_bin.purge(stranger, dataset=name)
        assert (purged.datasets, purged.images, purged.size) == (0, 0, 0)
    assert studio.recycle_bin.sweep() == 0
    assert everything(studio) == before


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 1001}, {"limit": -1}, {"offset": -1}])
def test_a_page_has_bounds(studio: Studio, owner: Principal, page: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        studio.recycle_bin.list(owner, **page)


# What a purge takes


def test_a_purge_takes_all_that_was_deleted_and_nothing_else(
    studio: Studio, owner: Principal, add: Any, boxes: Any, call: Any, check_counters: Any
) -> None:
    other = studio.datasets.create(owner, name="other")
    gone, kept, inside = add("1.jpg"), add("22.jpg"), add("333.jpg", into=other)
    for image in (gone, kept, inside):
        studio.documents.save(call(), image.id, boxes(2))
    studio.samples.delete(call(), gone.id)
    studio.datasets.delete(call(), "other")
    purged = studio.recycle_bin.purge(call())
    assert (purged.datasets, purged.images) == (1, 2)
    assert purged.size == gone.file_size + inside.file_size
    assert listed(studio, owner) == []
    assert [row.uuid for row in rows(studio, samples)] == [kept.id]
    assert len(rows(studio, annotation_revisions)) == 1
    assert check_counters(studio, owner, "signs").image_count == 1
    assert studio.recycle_bin.sweep() == 2
    assert set(studio.blobs.digests()) == {kept.sha256}
    assert studio.samples.image_bytes(kept)


def test_a_purge_is_told_in_the_history_once(studio: Studio, owner: Principal, add: Any, call: Any) -> None:
    studio.samples.delete(call(), add("1.jpg").id)
    first, second = call(), call()
    studio.recycle_bin.purge(first)
    studio.recycle_bin.purge(second)
    (change,) = studio.changes.of_call(owner, str(first.call_id))
    assert (change.kind, change.count, change.dataset) == ("bin.purged", 1, None)
    assert studio.changes.of_call(owner, str(second.call_id)) == []


def test_a_purge_tells_what_exactly_went(studio: Studio, owner: Principal, add: Any, call: Any) -> None:
    """Equal for the same things, however often it is rehearsed; another one for others."""
    one, two = add("1.jpg"), add("22.jpg")

    def rehearsed() -> str:
        who = call()
        with studio.database.unit_of_work(rehearsal=True):
            studio.recycle_bin.purge(who)
            (change,) = studio.changes.of_call(owner, str(who.call_id))
        return str(change.detail["digest"])

    deleting = call()
    studio.samples.delete(deleting, one.id)
    first = rehearsed()
    assert (len(first), rehearsed()) == (64, first)
    studio.undo.call(call(), deleting.call_id)
    studio.samples.delete(call(), two.id)  # as many things, but others
    assert rehearsed() != first
    studio.datasets.delete(call(), "signs")
    assert rehearsed() != first


def test_a_purge_of_one_name_takes_that_only(
    studio: Studio, owner: Principal, dataset: Dataset, add: Any, call: Any
) -> None:
    """Deleted namesakes and deleted images of a living one; all others stay."""
    other = studio.datasets.create(owner, name="other")
    add("1.jpg")
    studio.datasets.delete(call(), "signs")
    again = studio.datasets.create(owner, name="signs")
    gone, kept = add("1.jpg", into=again), add("22.jpg", into=again)
    elsewhere = add("1.jpg", into=other)
    deleting = call()
    for image in (gone, elsewhere):
        studio.samples.delete(deleting, image.id)
    purged = studio.recycle_bin.purge(call(), dataset="signs")
    assert (purged.datasets, purged.images) == (1, 2)
    assert [entry[:3] for entry in listed(studio, owner)] == [("images", "other", 1)]
    assert studio.samples.get(owner, kept.id) == kept
    assert studio.recycle_bin.purge(call(), dataset="no such name").images == 0


def test_a_purge_spares_what_was_deleted_lately(
    studio: Studio, owner: Principal, add: Any, call: Any, move_clock: Any
) -> None:
    old, new, kept = add("1.jpg"), add("22.jpg"), add("333.jpg")
    studio.samples.delete(call(), old.id)
    move_clock(timedelta(days=2))
    studio.samples.delete(call(), new.id)
    assert studio.recycle_bin.purge(call(), older_than=timedelta(days=3)).images == 0
    assert studio.recycle_bin.purge(call(), older_than=timedelta(days=1)).images == 1
    assert {row.uuid for row in rows(studio, samples)} == {new.id, kept.id}
    move_clock(timedelta(days=3, minutes=1))
    studio.datasets.delete(call(), "signs")
    assert studio.recycle_bin.purge(call(), older_than=timedelta(days=1)).images == 1
    assert [entry[:3] for entry in listed(studio, owner)] == [("dataset", "signs", 1)]


def test_a_negative_age_is_refused(studio: Studio, owner: Principal, add: Any, call: Any) -> None:
    studio.samples.delete(call(), add("1.jpg").id)
    before = everything(studio)
    with pytest.raises(InvalidInput):
        studio.recycle_bin.purge(call(), older_than=timedelta(seconds=-1))
    assert everything(studio) == before


def test_living_things_are_never_purged(studio: Studio, owner: Principal, add: Any, call: Any) -> None:
    images = [add("1.jpg"), add("22.jpg")]
    deleting = call()
    studio.samples.delete(deleting, images[0].id)
    studio.undo.call(call(), deleting.call_id)
    deleting = call()
    studio.datasets.delete(deleting, "signs")
    studio.undo.call(call(), deleting.call_id)
    for name in (None, "signs"):
        assert studio.recycle_bin.purge(call(), dataset=name).images == 0
    assert studio.recycle_bin.sweep() == 0
    assert [s.id for s in studio.samples.page(studio.datasets.get(owner, "signs"), limit=9)] == [
        i.id for i in images
    ]


def test_the_exports_of_a_purged_dataset_go_with_it(
    studio: Studio, owner: Principal, add: Any, call: Any
) -> None:
    image = add("1.jpg")
    other = studio.datasets.create(owner, name="other")
    add("1.jpg", into=other)
    options = ExportOptions(status_filter="all")
    for name in ("signs", "other"):
        studio.exports.create(owner, dataset_name=name, name="e", options=options)
    studio.datasets.delete(call(), "signs")
    studio.recycle_bin.purge(call())
    assert studio.recycle_bin.sweep() == 1  # the picture is still one of "other"
    (left,) = rows(studio, exports)
    assert set(studio.blobs.digests()) == {left.sha256, image.sha256}
    assert b"".join(studio.exports.open(owner, "other", "e")[1]).startswith(b"PK")


def test_nothing_of_a_purged_image_is_left_in_the_store(
    studio: Studio, owner: Principal, add: Any, call: Any
) -> None:
    """A thumbnail shows as much as the picture."""
    image = add("1.jpg")
    studio.samples.thumbnail(image.sha256, 128)
    studio.samples.delete(call(), image.id)
    studio.recycle_bin.purge(call())
    studio.recycle_bin.sweep()
    assert [p for p in (studio.home / "blobs").rglob("*") if p.is_file()] == []


# Bytes


def test_bytes_stay_while_a_binned_row_names_them(
    studio: Studio, owner: Principal, dataset: Dataset, add: Any, call: Any
) -> None:
    one, two = add("1.jpg", seed=1), add("2.jpg", seed=1)
    deleting = call()
    studio.samples.delete(deleting, one.id)
    studio.samples.delete(deleting, two.id)
    with studio.database.write() as connection:  # what a purge of neither does
        assert mark_unused(studio.database, connection, [one.sha256]) == 0
    assert studio.recycle_bin.sweep() == 0
    assert studio.blobs.exists(one.sha256)


def test_bytes_stay_while_another_organization_has_them(
    studio: Studio, owner: Principal, stranger: Principal, add: Any, call: Any, picture: Any
) -> None:
    mine = add("1.jpg", seed=1)
    theirs = studio.datasets.create(stranger, name="theirs")
    kept = studio.ingest.add_image(stranger, theirs, data=picture(1), filename="x.jpg")
    studio.samples.delete(call(), mine.id)
    assert studio.recycle_bin.purge(call()).images == 1
    assert (studio.recycle_bin.sweep(), kept.sha256) == (0, mine.sha256)
    assert studio.samples.image_bytes(kept) == picture(1)


def test_marks_are_kept_for_a_day(studio: Studio, add: Any, call: Any, move_clock: Any) -> None:
    image = add("1.jpg")
    studio.samples.delete(call(), image.id)
    studio.recycle_bin.purge(call())
    assert [(m.sha256, m.deleted_at) for m in rows(studio, swept_blobs)] == [(image.sha256, None)]
    assert (studio.recycle_bin.sweep(), studio.recycle_bin.sweep()) == (1, 0)
    assert [m.sha256 for m in rows(studio, swept_blobs) if m.deleted_at] == [image.sha256]
    move_clock(timedelta(days=1, minutes=1))
    studio.recycle_bin.sweep()
    assert rows(studio, swept_blobs) == []


def test_a_start_sweeps(studio: Studio, add: Any, call: Any, open_studio: Any) -> None:
    image = add("1.jpg")
    studio.samples.delete(call(), image.id)
    studio.recycle_bin.purge(call())
    open_studio()
    assert not studio.blobs.exists(image.sha256)


def test_a_sweep_takes_few_transactions(
    studio: Studio, add: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        studio.samples.delete(call(), add(f"{number}.jpg", seed=number).id)
    studio.recycle_bin.purge(call())
    commits: list[int] = []
    sa.event.listen(studio.database.engine, "commit", lambda _connection: commits.append(1))
    monkeypatch.setattr(sweep, "SWEEP_BATCH", 5)
    monkeypatch.setattr(sweep, "HOLD_SECONDS", 60)
    assert studio.recycle_bin.sweep() == 7
    assert len(commits) == 3  # two batches, and the old marks
    assert set(studio.blobs.digests()) == set()


def test_a_slow_store_does_not_keep_writers_waiting(
    studio: Studio, add: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        studio.samples.delete(call(), add(f"{number}.jpg", seed=number).id)
    studio.recycle_bin.purge(call())
    commits: list[int] = []
    sa.event.listen(studio.database.engine, "commit", lambda _connection: commits.append(1))
    monkeypatch.setattr(sweep, "HOLD_SECONDS", 0)
    assert studio.recycle_bin.sweep() == 3
    assert len(commits) == 4
    assert all(mark.deleted_at for mark in rows(studio, swept_blobs))
