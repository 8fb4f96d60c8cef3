"""The recycle bin: what it lists, what a purge takes, and bytes that go only when nothing names them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.ingest import UploadReport
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.keys import Principal
from tintype_studio.storage import sweep
from tintype_studio.storage.sweep import mark_unused
from tintype_studio.storage.tables import (
    annotation_revisions,
    exports,
    metadata,
    sample_files,
    samples,
)
from tintype_studio.storage.upkeep_tables import swept_blobs
from tintype_studio.studio import Studio


@pytest.fixture
def call(owner: Principal) -> Callable[[], Principal]:
    """The owner in a new call."""
    return lambda: replace(owner, call_id=clock.new_id(), session="s", tool="t")


@pytest.fixture
def add(studio: Studio, owner: Principal, dataset: Dataset, picture: Any) -> Callable[..., Sample]:
    def add_one(filename: str, *, seed: int | None = None, into: Dataset | None = None) -> Sample:
        data = picture(len(filename) + ord(filename[0]) if seed is None else seed)
        return studio.ingest.add_image(owner, into or dataset, data=data, filename=filename)

    return add_one


def rows(studio: Studio, table: sa.Table) -> list[Any]:
    with studio.database.read() as connection:
        return list(connection.execute(sa.select(table)).all())


def everything(studio: Studio) -> list[Any]:
    return [rows(studio, table) for table in metadata.sorted_tables] + [set(studio.blobs.digests())]


def assert_no_row_without_bytes(studio: Studio) -> None:
    named = {row.sha256 for row in rows(studio, sample_files)} | {
        row.sha256 for row in rows(studio, exports) if row.sha256
    }
    assert named <= set(studio.blobs.digests())


def listed(studio: Studio, principal: Principal, **page: int) -> list[tuple[Any, ...]]:
    return [
        (b.kind, b.dataset, b.count, b.size, b.call_id) for b in studio.recycle_bin.list(principal, **page)
    ]


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


# A re-upload of the same bytes, at every point of a purge


@pytest.fixture
def upload(studio: Studio, owner: Principal, add: Any, call: Any, folder: Any, picture: Any) -> Any:
    """Uploads bytes that lie in the bin; takes what is to happen before they are stored, between that and
    their record, and after it."""
    studio.samples.delete(call(), add("1.jpg", seed=1).id)
    root: Path = folder({"again.jpg": picture(1)})

    def run(*steps: list[Callable[[], object]]) -> UploadReport:
        def do(number: int) -> bool:
            for step in steps[number] if number < len(steps) else []:
                step()
            return True

        dataset = studio.datasets.get(owner, "signs")
        report = studio.ingest.add_folder(
            call(),
            dataset,
            root,
            allowed=lambda _path: do(0),
            progress=lambda _done, _total, _name: do(1) and None,
        )
        do(2)
        return report

    return run


@pytest.mark.parametrize(("purged_at", "swept_at"), [(p, s) for p in range(3) for s in range(p, 3)], ids=str)
def test_an_upload_that_meets_a_purge_never_ends_without_bytes(
    studio: Studio, owner: Principal, upload: Any, purged_at: int, swept_at: int, check_counters: Any
) -> None:
    steps: list[list[Callable[[], object]]] = [[], [], []]
    steps[purged_at].append(lambda: studio.recycle_bin.purge(owner))
    steps[swept_at].append(studio.recycle_bin.sweep)
    if swept_at == 1:  # the upload had relied on bytes that then went
        before = check_counters(studio, owner, "signs")
        with pytest.raises(Unavailable) as raced:
            upload(*steps)
        assert (raced.value.code, raced.value.retryable) == ("upload_raced", True)
        assert check_counters(studio, owner, "signs") == before
        assert_no_row_without_bytes(studio)
        upload()
    else:
        assert upload(*steps).images_uploaded == 1
    assert_no_row_without_bytes(studio)
    studio.recycle_bin.sweep()
    assert check_counters(studio, owner, "signs").image_count == 1
    assert_no_row_without_bytes(studio)


def test_an_upload_that_meets_a_sweep_that_died_never_ends_without_bytes(
    studio: Studio, owner: Principal, upload: Any
) -> None:
    """The process was killed after it had removed the bytes and before its transaction ended."""
    studio.recycle_bin.purge(owner)
    (mark,) = rows(studio, swept_blobs)
    with pytest.raises(Unavailable):
        upload([], [lambda: studio.blobs.delete(mark.sha256)])
    assert_no_row_without_bytes(studio)
    assert upload().images_uploaded == 1
    assert studio.recycle_bin.sweep() == 0
    assert_no_row_without_bytes(studio)


def test_a_mark_on_bytes_that_are_named_takes_nothing(studio: Studio, owner: Principal, add: Any) -> None:
    """Such as one that a purge left before an export was stored with the same bytes."""
    add("1.jpg")
    export = studio.exports.create(
        owner, dataset_name="signs", name="e", options=ExportOptions(status_filter="all")
    )
    assert export.sha256 is not None
    with studio.database.write() as connection:
        assert mark_unused(studio.database, connection, [export.sha256]) == 0
        connection.execute(sa.insert(swept_blobs).values(sha256=export.sha256, marked_at=clock.now()))
    assert studio.recycle_bin.sweep() == 0
    assert rows(studio, swept_blobs) == []
    assert_no_row_without_bytes(studio)


@pytest.mark.slow
def test_uploads_deletions_purges_and_sweeps_at_once_never_lose_bytes(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, open_studio: Any, check_counters: Any
) -> None:
    """Three uploaders of the same two pictures in two processes' worth of workspaces, and two purgers."""
    others, pictures = [studio, open_studio(), open_studio()], [picture(1), picture(2)]
    stop, problems, raced = threading.Event(), [], []

    def upload(number: int) -> None:
        mine = others[number]
        for turn in range(40):
            who = replace(owner, call_id=clock.new_id())
            name = f"{number}-{turn}.jpg"
            try:
                image = mine.ingest.add_image(who, dataset, data=pictures[turn % 2], filename=name)
            except Unavailable as error:
                raced.append(error.code)
                continue
            try:
                mine.samples.image_bytes(image)
            except NotFound:
                problems.append(name)
            if turn % 4:
                mine.samples.delete(who, image.id)

    def purge(number: int) -> None:
        while not stop.is_set():
            others[number].recycle_bin.purge(owner)
            others[number].recycle_bin.sweep()

    def guarded(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except TintypeError as error:
            problems.append(error.message)

    uploaders = [threading.Thread(target=guarded, args=(upload, n)) for n in range(3)]
    purgers = [threading.Thread(target=guarded, args=(purge, n)) for n in range(2)]
    for thread in uploaders + purgers:
        thread.start()
    for thread in uploaders:
        thread.join()
    stop.set()
    for thread in purgers:
        thread.join()
    assert problems == []
    assert set(raced) <= {"upload_raced"}
    assert_no_row_without_bytes(studio)
    assert check_counters(studio, owner, "signs").image_count >= 30 - len(raced)
    studio.recycle_bin.purge(owner)
    studio.recycle_bin.sweep()
    assert set(studio.blobs.digests()) == {row.sha256 for row in rows(studio, sample_files)}
