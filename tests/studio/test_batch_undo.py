"""What was done to many images at once is taken back, done again, and stands under what was built on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from support.history import World, signs

from tintype_studio.catalog.copying import Duplicates
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import UndoConflict
from tintype_studio.history.image_ids import pack, unpack
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

ALL = ("a.jpg", "b.jpg", "c.jpg")
Deed = Callable[[World, Principal], object]


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any) -> World:
    made = signs(studio, owner, picture, boxes)
    studio.batch.update(made.acts("setup"), "signs", ids(made, "b.jpg"), display_name="before")
    studio.batch.move(made.acts("setup"), "signs", ids(made, "c.jpg"), "/night")
    return made


def ids(world: World, *filenames: str) -> list[str]:
    return [world.image(filename) for filename in filenames]


def seen(world: World) -> list[Any]:
    names = "SELECT uuid, display_name FROM samples WHERE deleted_at IS NULL ORDER BY id"
    with world.studio.database.read() as connection:
        shown = [tuple(row) for row in connection.execute(sa.text(names))]
    return [world.seen(), shown]


def move(world: World, who: Principal) -> object:
    return world.studio.batch.move(who, "signs", ids(world, *ALL), "/moved")


def copy(world: World, who: Principal) -> object:
    return world.studio.batch.copy(who, "signs", ids(world, *ALL), "/", annotations=True)


def overwrite(world: World, who: Principal) -> object:
    """Over an image that has annotations and is complete."""
    return world.studio.batch.copy(
        who, "signs", ids(world, "c.jpg", "x/a.jpg"), "/", duplicates=Duplicates.OVERWRITE
    )


def delete(world: World, who: Principal) -> object:
    return world.studio.batch.delete(who, "signs", ids(world, *ALL))


def update(world: World, who: Principal) -> object:
    return world.studio.batch.update(
        who, "signs", ids(world, *ALL), status=Status.REVIEW, display_name="after"
    )


def update_twice(world: World, who: Principal) -> None:
    update(world, who)
    world.studio.batch.update(who, "signs", ids(world, "a.jpg"), status=Status.COMPLETE, display_name="")


def archive(world: World, who: Principal) -> object:
    """With a new status, which the image keeps in the bin."""
    return world.studio.batch.update(
        who, "signs", ids(world, "a.jpg", "c.jpg"), status=Status.COMPLETE, archived=True
    )


def restore(world: World, who: Principal) -> object:
    return world.studio.batch.update(who, "signs", world_bin(world), archived=False, status=Status.REVIEW)


def world_bin(world: World) -> list[str]:
    gone = "SELECT uuid FROM samples WHERE deleted_at IS NOT NULL ORDER BY id"
    with world.studio.database.read() as connection:
        return list(connection.execute(sa.text(gone)).scalars())


def move_and_delete(world: World, who: Principal) -> None:
    some = ids(world, "a.jpg", "b.jpg")
    world.studio.batch.move(who, "signs", some, "/moved")
    world.studio.batch.delete(who, "signs", some[:1])


DEEDS: list[Deed] = [
    move,
    copy,
    overwrite,
    delete,
    update,
    update_twice,
    archive,
    restore,
    move_and_delete,
]


@pytest.fixture(params=DEEDS, ids=lambda deed: deed.__name__)
def deed(request: pytest.FixtureRequest, world: World) -> Deed:
    if request.param is overwrite:
        world.studio.batch.copy(world.acts("setup"), "signs", ids(world, "a.jpg"), "/x", annotations=True)
        world.studio.batch.copy(world.acts("setup"), "signs", ids(world, "c.jpg"), "/", annotations=True)
        c, other = "night/c.jpg", world.acts("setup")
        world.label(other, c, world.boxes(1, "bus"))
    if request.param is restore:
        world.studio.batch.delete(world.acts("setup"), "signs", ids(world, "a.jpg", "b.jpg"))
    made: Deed = request.param
    return made


def test_undone_and_undone_again(world: World, deed: Deed) -> None:
    if deed is overwrite:  # the bare name stands in two folders there
        original = ids

        def named(world: World, *_names: str) -> list[str]:
            return original(world, "night/c.jpg", "x/a.jpg")

        def do(world: World, who: Principal) -> object:
            return world.studio.batch.copy(who, "signs", named(world), "/", duplicates=Duplicates.OVERWRITE)
    else:
        do = deed
    states, call = [seen(world)], world.acts()
    do(world, call)
    states.append(seen(world))
    assert states[0] != states[1]
    last = call
    for step in range(4):
        last = world.undo(last)
        assert seen(world) == states[step % 2]
    world.undo(call)
    assert seen(world) == states[0]


LATER: dict[str, tuple[Deed, Deed]] = {
    "another move of a moved image": (
        move,
        lambda w, who: w.studio.batch.move(who, "signs", ids(w, "b.jpg"), "/again"),
    ),
    "the deletion of a moved image": (move, lambda w, who: w.studio.samples.delete(who, w.image("b.jpg"))),
    "another update of the same column": (
        update,
        lambda w, who: w.studio.batch.update(who, "signs", ids(w, "c.jpg"), display_name="other"),
    ),
    "a save over a status": (update, lambda w, who: w.label(who, "a.jpg", w.boxes(1, "bus"))),
    "a status over a save": (
        lambda w, who: w.label(who, "c.jpg", w.boxes(1, "bus")),
        lambda w, who: w.studio.batch.update(who, "signs", ids(w, "c.jpg"), status=Status.REVIEW),
    ),
    "a move of an image that was added": (
        lambda w, who: w.add(who, "1.jpg"),
        lambda w, who: w.studio.batch.move(who, "signs", ids(w, "1.jpg"), "/y"),
    ),
    "an update of a copy": (
        copy,
        lambda w, who: w.studio.batch.update(who, "signs", ids(w, "a_1.jpg"), display_name="copy"),
    ),
    "the deletion of the dataset": (move, lambda w, who: w.studio.datasets.delete(who, "signs")),
}


@pytest.mark.parametrize("case", LATER)
def test_what_later_changes_build_on_is_not_undone(world: World, case: str) -> None:
    first, second = LATER[case]
    before, call, later = seen(world), world.acts(), world.acts()
    first(world, call)
    second(world, later)
    error = world.undo_refusal(call)
    assert isinstance(error, UndoConflict)
    assert [c["call_id"] for c in error.details["calls"]] == [later.call_id]
    world.undo(later)
    world.undo(call)
    assert seen(world) == before


APART: dict[str, tuple[Deed, Deed]] = {
    "a move and a status": (move, lambda w, who: update(w, who)),
    "a move and a save": (move, lambda w, who: w.label(who, "a.jpg", w.boxes(1, "bus"))),
    "a display name and a save": (
        lambda w, who: w.studio.batch.update(who, "signs", ids(w, "a.jpg"), display_name="x"),
        lambda w, who: w.label(who, "a.jpg", w.boxes(1, "bus")),
    ),
    "statuses of two images": (
        lambda w, who: w.studio.batch.update(who, "signs", ids(w, "a.jpg"), status=Status.REVIEW),
        lambda w, who: w.studio.batch.update(who, "signs", ids(w, "b.jpg"), status=Status.REVIEW),
    ),
}


@pytest.mark.parametrize("case", APART)
def test_what_does_not_touch_is_undone_in_any_order(world: World, case: str) -> None:
    first, second = APART[case]
    call, later = world.acts(), world.acts()
    first(world, call)
    second(world, later)
    world.undo(call)
    world.undo(later)


@pytest.mark.parametrize("status", list(Status))
def test_a_save_gives_the_status_back_that_somebody_had_set(world: World, status: Status) -> None:
    """Also ``complete`` without annotations, and a status that an annotated image was given."""
    b, c = ids(world, "b.jpg", "c.jpg")
    world.label(world.acts(), "c.jpg", world.boxes(1, "bus"))
    world.studio.batch.update(world.acts(), "signs", [b, c], status=status)
    states, call = [seen(world)], world.acts()
    world.label(call, "b.jpg", world.boxes(2, "bus"))
    world.label(call, "c.jpg", [])
    states.append(seen(world))
    last = call
    for step in range(4):
        last = world.undo(last)
        assert seen(world) == states[step % 2]


def test_a_moved_image_does_not_come_back_over_a_namesake(world: World) -> None:
    before, call, namesake = seen(world), world.acts(), world.acts()
    move(world, call)
    world.add(namesake, "a.jpg")
    error = world.undo_refusal(call)
    assert (error.code, "'a.jpg'" in error.message) == ("name_taken", True)
    world.undo(namesake)
    world.undo(call)
    assert seen(world) == before


def test_what_was_removed_for_good_is_left_out(world: World) -> None:
    """Also when the database gives its row's number to a new image."""
    call, ids_ = world.acts(), ids(world, *ALL)
    move(world, call)
    world.studio.batch.delete(world.acts(), "signs", ids_[2:], permanent=True)
    world.add(world.acts(), "new.jpg")
    world.undo(call)
    page = world.studio.samples.page(world.studio.datasets.get(world.principal, "signs"), limit=10)
    assert sorted((s.folder, s.filename) for s in page) == [("/", n) for n in ("a.jpg", "b.jpg", "new.jpg")]


def test_a_session_of_all_sorts(world: World) -> None:
    before = seen(world)
    for deed in (move, update, copy):
        deed(world, world.acts("tuesday"))
    world.studio.batch.delete(world.acts("tuesday"), "signs", ids(world, "moved/a.jpg", "/b.jpg"))
    undone = world.studio.undo.session(world.acts("undoing"), "tuesday")
    assert len(undone.calls) == 4
    assert seen(world) == before


@pytest.mark.parametrize("numbers", [[], [7], [1, 2, 3, 5, 9, 10], [3, 1, 2, 2], list(range(10_000))])
def test_packed_ids(numbers: list[int]) -> None:
    assert unpack(pack(numbers)) == sorted(set(numbers))
    assert len(pack(range(10_000))) == 1
