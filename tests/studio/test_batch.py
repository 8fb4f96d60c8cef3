"""Many images at once: what is done to each, what is not and why, and counters that stay true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from support.history import World, signs

from tintype_studio import clock
from tintype_studio.catalog.copying import Duplicates
from tintype_studio.catalog.picking import MAX_IMAGES, Batched
from tintype_studio.catalog.samples import Sample, Status, add_to_counters
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal, insert_key
from tintype_studio.identity.roles import Role
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.tables import annotation_revisions, sample_files, samples
from tintype_studio.studio import Studio

ALL = ("a.jpg", "b.jpg", "c.jpg")


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any) -> Iterator[World]:
    """``signs`` with a.jpg (3 annotations), b.jpg (2), c.jpg; its counters are checked at the end."""
    made = signs(studio, owner, picture, boxes)
    yield made
    recount(made)


@pytest.fixture
def member(world: World) -> Principal:
    """Somebody who has uploaded nothing."""
    studio = world.studio
    with studio.database.write() as connection:
        key = insert_key(
            connection,
            studio.signer,
            organization_id=world.principal.organization_id,
            name="member",
            role=Role.MEMBER,
        )
    return world.acts(principal=studio.keys.authenticate(key))


def recount(world: World) -> None:
    """Like ``check_counters``, for images whose status was set by hand."""
    for dataset in world.studio.datasets.list(world.principal):
        page = world.studio.samples.page(dataset, limit=5000)
        documents = [len(world.studio.documents.get(world.principal, s.id)[1]) for s in page]
        assert [s.annotation_count for s in page] == documents
        assert dataset.image_count == len(page)
        assert dataset.completed_image_count == sum(s.status == "complete" for s in page)
        assert dataset.annotation_count == sum(documents)
        assert dataset.total_size == sum(world.studio.blobs.size(s.sha256) for s in page)


def ids(world: World, *filenames: str) -> list[str]:
    return [world.image(filename) for filename in filenames]


def places(world: World) -> dict[str, Sample]:
    page = world.studio.samples.page(world.studio.datasets.get(world.principal, "signs"), limit=20_000)
    return {f"{s.folder.rstrip('/')}/{s.filename}": s for s in page}


def outcome(done: Batched) -> tuple[int, int, list[str], list[str]]:
    return done.processed, done.skipped, [f.id for f in done.failed], sorted(done.folders)


Deed = Callable[[World, list[str]], Batched]
DEEDS: dict[str, Deed] = {
    "move": lambda w, i: w.studio.batch.move(w.acts(), "signs", i, "/x"),
    "copy": lambda w, i: w.studio.batch.copy(w.acts(), "signs", i, "/x"),
    "delete": lambda w, i: w.studio.batch.delete(w.acts(), "signs", i),
    "purge": lambda w, i: w.studio.batch.delete(w.acts(), "signs", i, permanent=True),
    "update": lambda w, i: w.studio.batch.update(w.acts(), "signs", i, status=Status.REVIEW),
}


@pytest.fixture(params=DEEDS)
def deed(request: pytest.FixtureRequest) -> Deed:
    return DEEDS[request.param]


def test_ids_that_are_none_fail_alone(world: World, deed: Deed) -> None:
    """Also the id of another dataset's image; one that is named twice counts once."""
    world.studio.datasets.create(world.acts(), name="other")
    elsewhere = world.add(world.acts(), "e.jpg", "other").id
    [a] = ids(world, "a.jpg")
    done = deed(world, ["nonsense", a, elsewhere, a, "\ud800"])
    assert outcome(done)[:3] == (1, 0, ["nonsense", elsewhere, "?"])
    assert {f.reason for f in done.failed} == {"no image of this dataset has this id"}


def test_none_of_them_is_an_error(world: World, deed: Deed, stranger: Principal) -> None:
    before = world.rows()
    with pytest.raises(NotFound, match="None of the 2 images"):
        deed(world, ["nonsense", clock.new_id()])
    [a] = ids(world, "a.jpg")
    with pytest.raises(NotFound, match="No dataset"):
        world.studio.batch.move(stranger, "signs", [a], "/")
    assert world.rows() == before


@pytest.mark.parametrize("number", [0, MAX_IMAGES + 1])
def test_none_and_too_many_are_refused(world: World, deed: Deed, number: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        deed(world, [str(i) for i in range(number)])
    assert refused.value.code == "invalid_batch"


def test_images_in_the_bin_are_left_there(world: World, deed: Deed) -> None:
    b, a = ids(world, "b.jpg", "a.jpg")
    world.studio.samples.delete(world.acts(), b)
    done = deed(world, [a, b])
    if deed is DEEDS["purge"]:
        assert outcome(done) == (2, 0, [], ["/"])
    else:
        assert [(f.id, f.reason) for f in done.failed] == [(b, "the image is in the recycle bin")]


def test_move(world: World) -> None:
    done = world.studio.batch.move(world.acts(), "signs", ids(world, "a.jpg", "b.jpg"), "sorted/cars/")
    assert outcome(done) == (2, 0, [], ["/", "/sorted/cars"])
    assert set(places(world)) == {"/sorted/cars/a.jpg", "/sorted/cars/b.jpg", "/c.jpg"}
    again = world.studio.batch.move(world.acts(), "signs", ids(world, "a.jpg", "c.jpg"), "/sorted/cars")
    assert outcome(again) == (2, 0, [], ["/", "/sorted/cars"])


def test_a_move_that_changes_nothing_is_no_change(world: World) -> None:
    call = world.acts()
    assert outcome(world.studio.batch.move(call, "signs", ids(world, *ALL), "/")) == (3, 0, [], [])
    assert world.changes(call) == []


def test_a_move_onto_a_taken_name(world: World) -> None:
    """By one that is there, and by another of the same call: the first one wins."""
    a = world.image("a.jpg")
    world.studio.batch.move(world.acts(), "signs", [a], "/x")
    second = world.add(world.acts(), "a.jpg").id
    done = world.studio.batch.move(world.acts(), "signs", [second, *ids(world, "b.jpg")], "/x")
    assert outcome(done) == (1, 0, [second], ["/", "/x"])
    third = world.studio.batch.move(world.acts(), "signs", [a, second], "/y")
    assert outcome(third) == (1, 0, [second], ["/x", "/y"])
    assert places(world)["/y/a.jpg"].id == a


@pytest.mark.parametrize("folder", ["/a#b", "/..", "/x" * 300])
def test_a_folder_that_cannot_be(world: World, folder: str) -> None:
    for act in (world.studio.batch.move, world.studio.batch.copy):
        with pytest.raises(InvalidInput):
            act(world.acts(), "signs", ids(world, *ALL), folder)


@pytest.mark.parametrize("annotations", [False, True])
def test_copy(world: World, annotations: bool) -> None:
    world.studio.batch.update(world.acts(), "signs", ids(world, "b.jpg"), status=Status.REVIEW)
    world.studio.batch.update(
        world.acts(), "signs", ids(world, "c.jpg"), status=Status.COMPLETE, display_name="the third"
    )
    done = world.studio.batch.copy(
        world.acts(), "signs", ids(world, *ALL), "/copies", annotations=annotations
    )
    assert outcome(done) == (3, 0, [], ["/copies"])
    now = places(world)
    for name in ALL:
        source, copy = now[f"/{name}"], now[f"/copies/{name}"]
        assert copy.id != source.id
        same = ("sha256", "file_size", "mime_type", "width", "height", "display_name")
        assert [getattr(copy, f) for f in same] == [getattr(source, f) for f in same]
        documents = [world.studio.documents.get(world.principal, s.id)[1] for s in (source, copy)]
        assert documents[1] == (documents[0] if annotations else [])
        assert copy.status == (source.status if annotations else "new")


def test_a_copy_is_found_by_its_classes(world: World) -> None:
    world.studio.batch.copy(world.acts(), "signs", ids(world, "b.jpg"), "/x", annotations=True)
    counted = sa.select(samples.c.folder, sample_classes.c.name, sample_classes.c.count).join(sample_classes)
    with world.studio.database.read() as connection:
        rows = connection.execute(counted.where(sample_classes.c.name == "bus")).all()
    assert sorted(tuple(row) for row in rows) == [("/", "bus", 2), ("/x", "bus", 2)]


def test_a_copy_lives_on_without_its_source(world: World) -> None:
    a, b = ids(world, "a.jpg", "b.jpg")
    world.studio.batch.copy(world.acts(), "signs", [a, b], "/x", annotations=True)
    world.studio.batch.delete(world.acts(), "signs", [a, b], permanent=True)
    world.studio.recycle_bin.sweep()
    for name in ("a.jpg", "b.jpg"):
        copy = places(world)[f"/x/{name}"]
        assert world.studio.samples.image_bytes(copy)
        world.label(world.acts(), f"x/{name}", world.boxes(1, "bus"))


def test_renamed_copies_get_the_next_free_names(world: World) -> None:
    a = world.image("a.jpg")
    for _ in range(40):
        world.studio.batch.copy(world.acts(), "signs", [a], "/")
    copies = {f"/a_{n}.jpg" for n in range(1, 41)}
    assert set(places(world)) == {"/a.jpg", "/b.jpg", "/c.jpg"} | copies
    # Two of one call that meet in the target folder.
    moved = world.studio.batch.copy(world.acts(), "signs", [a], "/x")
    x = places(world)["/x/a.jpg"].id
    assert moved.processed == 1
    world.studio.batch.copy(world.acts(), "signs", [a, x], "/y")
    assert {p for p in places(world) if p.startswith("/y")} == {"/y/a.jpg", "/y/a_1.jpg"}


def test_a_long_name_is_cut_to_stay_one(world: World) -> None:
    name = "n" * 251 + ".jpg"
    sample = world.add(world.acts(), name)
    world.studio.batch.copy(world.acts(), "signs", [sample.id], "/")
    assert f"/{'n' * 249}_1.jpg" in places(world)


def test_skipped_copies(world: World) -> None:
    [a] = ids(world, "a.jpg")
    done = world.studio.batch.copy(world.acts(), "signs", [a], "/", duplicates=Duplicates.SKIP)
    assert outcome(done) == (0, 1, [], [])
    assert len(places(world)) == 3


def test_an_overwriting_copy_puts_what_was_there_into_the_bin(world: World) -> None:
    a, b = ids(world, "a.jpg", "b.jpg")
    world.studio.batch.copy(world.acts(), "signs", [a, b], "/x")
    old = places(world)["/x/a.jpg"]
    call = world.acts()
    done = world.studio.batch.copy(
        call, "signs", [a], "/x", duplicates=Duplicates.OVERWRITE, annotations=True
    )
    assert outcome(done) == (1, 0, [], ["/x"])
    now = places(world)["/x/a.jpg"]
    assert (now.id != old.id, now.annotation_count) == (True, 3)
    kinds = [(c.kind.value, c.count) for c in world.changes(call)]
    assert kinds == [("images.deleted", 1), ("images.added", 1), ("annotations.saved", 1)]
    world.undo(call)
    assert places(world)["/x/a.jpg"].id == old.id


def test_what_an_overwriting_copy_may_not_do(world: World, member: Principal) -> None:
    a, b = ids(world, "a.jpg", "b.jpg")
    world.studio.batch.copy(world.acts(), "signs", [a, b], "/x")
    x = places(world)["/x/a.jpg"].id
    mode = {"duplicates": Duplicates.OVERWRITE}
    done = world.studio.batch.copy(world.acts(), "signs", [a, x, b], "/x", **mode)
    assert [(f.id, f.reason) for f in done.failed] == [(x, "another image of this call is copied to 'a.jpg'")]
    done = world.studio.batch.copy(world.acts(), "signs", [a], "/", **mode)
    assert [f.reason for f in done.failed] == ["an image cannot overwrite itself"]
    before = world.seen()
    done = world.studio.batch.copy(member, "signs", [a, b], "/x", **mode)
    assert (done.processed, {f.reason.split(" ", 1)[1] for f in done.failed}) == (
        0,
        {"in the target folder was uploaded by someone else"},
    )
    assert world.seen() == before


def test_copies_count_towards_the_tier(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from tintype_studio.catalog import ingest

    real = ingest.tier_of
    monkeypatch.setattr(ingest, "tier_of", lambda name: replace(real(name), max_images=5))
    before = world.rows()
    with pytest.raises(Conflict, match="holds 5 images"):
        world.studio.batch.copy(world.acts(), "signs", ids(world, *ALL), "/x")
    assert world.rows() == before
    assert world.studio.batch.copy(world.acts(), "signs", ids(world, "a.jpg"), "/x").processed == 1


def test_delete(world: World) -> None:
    call = world.acts()
    done = world.studio.batch.delete(call, "signs", ids(world, "a.jpg", "c.jpg"))
    assert outcome(done) == (2, 0, [], ["/"])
    assert set(places(world)) == {"/b.jpg"}
    assert [(b.kind, b.count, b.call_id) for b in world.studio.recycle_bin.list(world.principal)] == [
        ("images", 2, call.call_id)
    ]
    world.add(world.acts(), "a.jpg")  # the name is free again


def test_a_member_deletes_only_its_own(world: World, member: Principal) -> None:
    own = world.add(member, "mine.jpg").id
    a = world.image("a.jpg")
    for act in (
        lambda: world.studio.batch.delete(member, "signs", [own, a]),
        lambda: world.studio.batch.update(member, "signs", [own, a], archived=False),
        lambda: world.studio.batch.update(member, "signs", [own, a], archived=True),
    ):
        done = act()
        failed = [f.id for f in done.failed]
        assert (done.processed, failed) == ((2, []) if act().failed == [] else (1, [a]))


def test_only_an_admin_removes_for_good(world: World, member: Principal) -> None:
    own = world.add(member, "mine.jpg").id
    before = world.rows()
    with pytest.raises(Forbidden) as refused:
        world.studio.batch.delete(member, "signs", [own], permanent=True)
    assert refused.value.details == {"required_role": "admin", "role": "member"}
    assert world.rows() == before


def test_what_is_removed_for_good_frees_its_bytes(world: World) -> None:
    """From the bin and past it; the history tells that the deletion cannot be undone."""
    a, b = ids(world, "a.jpg", "b.jpg")
    digests = [places(world)[f"/{name}"].sha256 for name in ("a.jpg", "b.jpg")]
    deletion, purge = world.acts(), world.acts()
    world.studio.batch.delete(deletion, "signs", [a])
    done = world.studio.batch.delete(purge, "signs", [a, b], permanent=True)
    assert outcome(done) == (2, 0, [], ["/"])
    assert world.studio.recycle_bin.sweep() == 2
    assert not any(world.studio.blobs.exists(d) for d in digests)
    with world.studio.database.read() as connection:
        for table in (samples, sample_files):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 1
        assert connection.execute(sa.select(sa.func.count(annotation_revisions.c.id))).scalar_one() == 0
    for call in (deletion, purge):
        assert world.undo_refusal(call).code == "purged"
    [change] = world.changes(purge)
    assert (change.kind.value, change.count, change.label) == ("bin.purged", 2, "signs")


def test_update(world: World) -> None:
    call = world.acts()
    done = world.studio.batch.update(
        call, "signs", ids(world, *ALL), status=Status.COMPLETE, display_name=" Straße 1 "
    )
    assert outcome(done) == (3, 0, [], ["/"])
    assert {(s.status, s.display_name) for s in places(world).values()} == {("complete", "Straße 1")}
    assert world.studio.datasets.get(world.principal, "signs").completed_image_count == 3
    [change] = world.changes(call)
    assert (change.kind.value, change.count) == ("images.updated", 3)
    world.studio.batch.update(world.acts(), "signs", ids(world, "a.jpg"), display_name="")
    assert places(world)["/a.jpg"].display_name is None


def test_an_update_to_what_is_there_is_no_change(world: World) -> None:
    call = world.acts()
    done = world.studio.batch.update(call, "signs", ids(world, "a.jpg"), status=Status.COMPLETE)
    assert (done.processed, world.changes(call)) == (1, [])


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "\ud800"])
def test_a_display_name_that_cannot_be(world: World, name: str) -> None:
    with pytest.raises(InvalidInput):
        world.studio.batch.update(world.acts(), "signs", ids(world, *ALL), display_name=name)


def test_an_empty_update_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput) as refused:
        world.studio.batch.update(world.acts(), "signs", ids(world, *ALL))
    assert refused.value.code == "empty_update"


def test_an_image_without_annotations_stays_complete(world: World) -> None:
    """Such an image says that nothing is there to be seen."""
    c = world.image("c.jpg")
    world.studio.batch.update(world.acts(), "signs", [c], status=Status.COMPLETE)
    assert places(world)["/c.jpg"].status == "complete"
    world.label(world.acts(), "c.jpg", [])
    assert places(world)["/c.jpg"].status == "complete"


def test_into_the_bin_and_back(world: World) -> None:
    a, b, c = ids(world, *ALL)
    done = world.studio.batch.update(world.acts(), "signs", [a, b], archived=True, status=Status.REVIEW)
    assert outcome(done) == (2, 0, [], ["/"])
    assert set(places(world)) == {"/c.jpg"}
    assert world.studio.batch.update(world.acts(), "signs", [a], archived=True).processed == 1
    world.add(world.acts(), "b.jpg")
    done = world.studio.batch.update(world.acts(), "signs", [a, b, c], archived=False, display_name="back")
    assert outcome(done) == (2, 0, [b], ["/"])
    assert done.failed[0].reason == "another image is named 'b.jpg' in '/' now"
    now = places(world)
    assert [now[p].display_name for p in ("/a.jpg", "/b.jpg", "/c.jpg")] == ["back", None, "back"]
    assert (now["/a.jpg"].status, now["/a.jpg"].annotation_count) == ("review", 3)


def test_two_of_a_name_do_not_both_come_back(world: World) -> None:
    a = world.image("a.jpg")
    world.studio.batch.delete(world.acts(), "signs", [a])
    second = world.add(world.acts(), "a.jpg").id
    world.studio.batch.delete(world.acts(), "signs", [second])
    done = world.studio.batch.update(world.acts(), "signs", [second, a], archived=False)
    assert outcome(done)[:3] == (1, 0, [a])
    assert places(world)["/a.jpg"].id == second


def test_ten_thousand_at_once(world: World) -> None:
    """Within what a caller waits for; ids in random order."""
    import random
    import time

    dataset = world.studio.datasets.get(world.principal, "signs")
    now = clock.now()
    with world.studio.database.write() as connection:
        connection.execute(
            sa.insert(samples),
            [
                {
                    "uuid": clock.new_id(),
                    "dataset_id": dataset.row_id,
                    "filename": f"{i}.jpg",
                    "folder": "/many",
                    "status": "new",
                    "width": 1,
                    "height": 1,
                    "created_at": now,
                    "updated_at": now,
                }
                for i in range(10_000)
            ],
        )
        rows = connection.execute(
            sa.select(samples.c.id, samples.c.uuid).where(samples.c.folder == "/many")
        ).all()
        connection.execute(
            sa.insert(sample_files),
            [
                {"sample_id": r.id, "type": "image", "sha256": "0" * 64, "size": 0, "mime_type": "image/png"}
                for r in rows
            ],
        )
        add_to_counters(connection, dataset.row_id, images=10_000)
    image_ids = [row.uuid for row in rows]
    random.Random(1).shuffle(image_ids)
    call, start = world.acts(), time.monotonic()
    assert world.studio.batch.move(call, "signs", image_ids, "/moved").processed == 10_000
    world.undo(call)
    assert world.studio.batch.copy(world.acts(), "signs", image_ids, "/copied").processed == 10_000
    removed = world.studio.batch.delete(world.acts(), "signs", image_ids, permanent=True)
    assert removed.processed == 10_000
    copies = [s.id for s in places(world).values() if s.folder == "/copied"]
    assert world.studio.batch.update(world.acts(), "signs", copies, status=Status.REVIEW).processed == 10_000
    assert world.studio.batch.delete(world.acts(), "signs", copies).processed == 10_000
    assert time.monotonic() - start < 20
