"""Undo of whole sessions, of all since a restore point, and of what was purged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from support.history import World, signs

from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.errors import Cancelled, InvalidInput
from tintype_studio.history import undo
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any, check_counters: Any) -> Iterator[World]:
    """The counters are checked at the end."""
    yield signs(studio, owner, picture, boxes)
    for dataset in studio.datasets.list(owner):
        check_counters(studio, owner, dataset.name)


def work(world: World, session: str = "monday", principal: Principal | None = None) -> list[Principal]:
    """A session's work on ``signs`` and on a dataset of its own; returns its calls, oldest first."""
    studio, calls = world.studio, [world.acts(session, principal) for _ in range(9)]
    one = f"{session}.jpg"
    world.add(calls[0], one)
    world.label(calls[1], one, world.boxes(2, "tram"))
    world.label(calls[2], "a.jpg", world.boxes(1, "bus"))
    world.label(calls[3], one, world.boxes(5, "bus"))
    studio.samples.delete(calls[4], world.image(one))
    world.add(calls[5], one)
    studio.datasets.create(calls[6], name=session)
    world.add(calls[7], "x.jpg", session)
    studio.classes.declare(calls[8], session, [DatasetClass("cat")])
    return calls


def someone(world: World, role: Role) -> Principal:
    secret, _ = world.studio.keys.create(world.principal, name=role.value, role=role)
    return world.studio.keys.authenticate(secret)


def ids(calls: list[Principal]) -> list[str | None]:
    return [call.call_id for call in calls]


def test_a_session_is_undone_newest_first(world: World) -> None:
    before, calls = world.seen(), work(world)
    undone = world.studio.undo.session(world.acts("other"), "monday")
    assert undone.calls == ids(calls)[::-1]
    assert undone.counts == {
        "images.added": 3,
        "images.deleted": 1,
        "annotations.saved": 3,
        "dataset.created": 1,
        "classes.set": 1,
    }
    assert world.seen() == before


def test_the_undo_of_a_session_is_undone(world: World) -> None:
    before = world.seen()
    work(world)
    after, by = world.seen(), world.acts("other")
    world.studio.undo.session(by, "monday")
    again = world.undo(by)
    assert world.seen() == after
    world.undo(again)
    assert world.seen() == before


def test_the_undo_of_a_session_that_made_a_dataset_is_undone(world: World) -> None:
    """The common case: create, upload, undo, and then not after all."""
    world.studio.datasets.create(world.acts(), name="new")
    world.add(world.acts(), "1.jpg", "new")
    after, by = world.seen(), world.acts("other")
    world.studio.undo.session(by, "monday")
    world.undo(by)
    assert world.seen() == after


def test_the_undo_of_a_session_that_deleted_its_own_image_is_undone(world: World) -> None:
    world.add(world.acts(), "1.jpg")
    world.studio.samples.delete(world.acts(), world.image("1.jpg"))
    after, by = world.seen(), world.acts("other")
    world.studio.undo.session(by, "monday")
    world.undo(by)
    assert world.seen() == after


def test_the_undo_of_a_session_that_replaced_an_image_in_its_own_dataset_is_undone(world: World) -> None:
    """The undo deletes both, the old image and the new one of the same name; only one may come back."""
    world.studio.datasets.create(world.acts(), name="new")
    world.add(world.acts(), "1.jpg", "new")
    world.studio.samples.delete(world.acts(), world.image("1.jpg", "new"))
    world.add(world.acts(), "1.jpg", "new")
    after, by = world.seen(), world.acts("other")
    world.studio.undo.session(by, "monday")
    world.undo(by)
    assert world.seen() == after


def test_the_undo_of_a_session_that_saved_before_and_after_an_upload_is_undone(world: World) -> None:
    """The undo saves, deletes the upload and saves again: the upload must be back before its labels are."""
    before = world.seen()
    world.label(world.acts(), "a.jpg", world.boxes(1, "bus"))
    world.add(world.acts(), "1.jpg")
    world.label(world.acts(), "1.jpg", world.boxes(2, "tram"))
    after, by = world.seen(), world.acts("other")
    world.studio.undo.session(by, "monday")
    again = world.undo(by)
    assert world.seen() == after
    once_more = world.undo(again)
    assert world.seen() == before
    world.undo(once_more)
    assert world.seen() == after


def test_a_class_that_nothing_uses_comes_back_with_the_session_that_taught_it(world: World) -> None:
    """Wherever in the session it was taught: an upload parts the saves that the undo takes back."""
    world.label(world.acts(), "a.jpg", world.boxes(1, "bus"))
    world.add(world.acts(), "1.jpg")
    world.label(world.acts(), "b.jpg", world.boxes(1, "tram"))
    world.label(world.acts(), "b.jpg", [])
    after, by = world.seen(), world.acts("other")
    world.studio.undo.session(by, "monday")
    world.undo(by)
    assert world.seen() == after
    names = [c.name for c in world.studio.datasets.get(world.principal, "signs").classes]
    assert {"bus", "tram"} <= set(names)


def test_a_class_list_that_an_undo_replaces_comes_back_with_what_was_learned_meanwhile(world: World) -> None:
    """The list that an undo of an undo replaces is not the one that the first undo had left."""
    declaring = world.acts()
    world.declare(declaring, "car", "Straße", "bus", "tram")
    by = world.undo(declaring)
    world.label(world.acts(), "a.jpg", world.boxes(1, "tram"))
    before = world.seen()
    again = world.undo(by)
    world.undo(again)
    assert world.seen() == before


def test_the_undo_of_a_session_that_deleted_its_own_dataset_is_undone(world: World) -> None:
    world.studio.datasets.create(world.acts(), name="new")
    world.add(world.acts(), "1.jpg", "new")
    world.studio.datasets.delete(world.acts(), "new")
    after, by = world.seen(), world.acts("other")
    world.studio.undo.session(by, "monday")
    assert len(world.studio.datasets.list(world.principal)) == 1
    world.undo(by)
    assert world.seen() == after


def test_without_a_name_it_is_the_callers_own_session(world: World) -> None:
    work(world, "tuesday")
    between, calls = world.seen(), work(world)
    assert world.studio.undo.session(world.acts("monday")).calls == ids(calls)[::-1]
    assert world.seen() == between


def test_other_sessions_in_between_stay(world: World) -> None:
    mine, other = world.acts("mine"), world.acts("other")
    world.label(mine, "a.jpg", world.boxes(1, "bus"))
    world.label(other, "b.jpg", world.boxes(7, "bus"))
    last = world.acts("mine")
    world.add(last, "1.jpg")
    assert world.studio.undo.session(world.acts("mine")).calls == [last.call_id, mine.call_id]
    assert len(world.studio.documents.get(world.principal, world.image("b.jpg"))[1]) == 7


def test_a_session_on_which_another_builds_is_left_as_it_is(world: World) -> None:
    calls = work(world)
    foreign = world.acts("tuesday")
    world.label(foreign, "a.jpg", world.boxes(3, "bus"))
    error = world.refusal(lambda: world.studio.undo.session(world.acts("monday")))
    assert error.code == "later_changes"
    assert [c["call_id"] for c in error.details["calls"]] == [foreign.call_id]
    world.undo(foreign)
    assert world.studio.undo.session(world.acts("monday")).calls == ids(calls)[::-1]


def test_a_failure_late_in_a_session_leaves_all_of_it(world: World) -> None:
    """The deletion, undone last, meets a namesake of another session; by then much was put back."""
    world.studio.samples.delete(world.acts(), world.image("c.jpg"))
    for _ in range(3):
        world.label(world.acts(), "a.jpg", world.boxes(1, "bus"))
    world.add(world.acts("tuesday"), "c.jpg")
    error = world.refusal(lambda: world.studio.undo.session(world.acts("monday")))
    assert error.code == "name_taken"


def test_what_is_undone_already_is_left_out(world: World) -> None:
    before, calls = world.seen(), work(world)
    world.undo(calls[8])
    world.undo(calls[7], world.acts("monday"))
    assert world.studio.undo.session(world.acts("monday")).calls == ids(calls)[6::-1]
    assert world.seen() == before


def test_an_undo_within_a_session_is_no_work_of_it(world: World) -> None:
    before, calls = world.seen(), work(world)
    world.undo(world.undo(calls[8], world.acts("monday")), world.acts("monday"))
    assert world.studio.undo.session(world.acts("monday")).calls == ids(calls)[::-1]
    assert world.seen() == before


def test_a_session_is_undone_once(world: World) -> None:
    work(world)
    world.studio.undo.session(world.acts("monday"))
    for session in (None, "monday", "no such session", "", "\ud800"):
        error = world.refusal(lambda s=session: world.studio.undo.session(world.acts("monday"), s))
        assert error.code in {"nothing_to_undo", "invalid_text"}


@pytest.mark.parametrize("named", [None, "shared"])
def test_a_member_undoes_its_own_part_of_a_shared_session(world: World, named: str | None) -> None:
    """Whoever calls names the session, so that name gives no right to what others did under it."""
    secret, _ = world.studio.keys.create(world.principal, name="m", role=Role.MEMBER)
    member = world.studio.keys.authenticate(secret)
    calls = [world.acts("shared", member), world.acts("shared"), world.acts("shared", member)]
    for filename, call in zip("abc", calls, strict=True):
        world.label(call, f"{filename}.jpg", world.boxes(1, "bus"))
    mine = world.acts("shared", member)
    assert world.studio.undo.session(mine, named).calls == [calls[2].call_id, calls[0].call_id]
    assert [c.undone_by for c in world.changes(calls[1])] == [None]


def test_an_admin_undoes_a_shared_session_by_its_name_only(world: World) -> None:
    member = someone(world, Role.MEMBER)
    foreign, own = world.acts("shared", member), world.acts("shared")
    world.label(foreign, "a.jpg", world.boxes(1, "bus"))
    world.label(own, "b.jpg", world.boxes(1, "bus"))
    assert world.studio.undo.session(world.acts("shared")).calls == [own.call_id]
    assert world.studio.undo.session(world.acts("other"), "shared").calls == [foreign.call_id]


def test_without_any_session_nothing_is_undone(world: World) -> None:
    """It would be all that anybody of the organization ever did."""
    work(world)
    nowhere = replace(world.acts(), session=None)
    assert world.refusal(lambda: world.studio.undo.session(nowhere)).code == "nothing_to_undo"


def test_a_restore_point_in_the_middle_of_a_call_takes_the_whole_call(world: World) -> None:
    before, call = world.seen(), world.acts()
    world.add(call, "1.jpg")
    point = world.studio.changes.mark(world.acts("other"), "t")
    world.label(call, "b.jpg", [])
    undone = world.studio.undo.session(world.acts("other"), restore_point=point)
    assert undone.calls == [call.call_id]
    assert world.seen() == before


def test_calls_side_by_side_are_undone_in_one_go_or_named(world: World) -> None:
    """The older one ended last, and the newer one built on it in between."""
    first, second = world.acts(), world.acts()
    world.label(first, "a.jpg", world.boxes(1, "bus"))
    world.studio.samples.delete(second, world.image("a.jpg"))
    world.label(first, "b.jpg", world.boxes(3, "bus"))
    error = world.refusal(lambda: world.studio.undo.session(world.acts("monday")))
    assert [c["call_id"] for c in error.details["calls"]] == [second.call_id]
    world.undo(second)
    assert world.studio.undo.session(world.acts("monday")).calls == [first.call_id]


def test_a_check_stops_an_undo_as_a_whole(world: World) -> None:
    work(world)
    asked: list[int] = []

    def stop() -> None:
        asked.append(1)
        if len(asked) == 8:
            raise Cancelled("The caller went away.")

    error = world.refusal(lambda: world.studio.undo.session(world.acts("monday"), check=stop))
    assert isinstance(error, Cancelled)
    single = world.acts()
    world.label(single, "b.jpg", world.boxes(1, "bus"))
    asked[:] = [1] * 7
    assert isinstance(
        world.refusal(lambda: world.studio.undo.call(world.acts(), str(single.call_id), check=stop)),
        Cancelled,
    )


def test_an_undo_is_checked_for_every_call(world: World) -> None:
    calls, asked = work(world), []
    world.studio.undo.session(world.acts("monday"), check=lambda: asked.append(1))
    assert len(asked) >= len(calls)


def test_a_session_of_too_many_calls_is_undone_in_parts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo, "MAX_CALLS", 5)
    before = world.seen()
    for _ in range(5):
        world.label(world.acts(), "a.jpg", world.boxes(1, "bus"))
    point = world.studio.changes.mark(world.acts(), "t")
    for _ in range(3):
        world.label(world.acts(), "a.jpg", world.boxes(2, "bus"))
    error = world.refusal(lambda: world.studio.undo.session(world.acts("monday")))
    assert (type(error), error.code, "restore point" in error.fix) == (InvalidInput, "too_many_calls", True)
    world.studio.undo.session(world.acts("monday"), restore_point=point)
    world.studio.undo.session(world.acts("monday"))
    assert world.seen() == before


def test_the_work_of_an_undo_grows_with_the_session_not_with_its_square(world: World) -> None:
    """Statements and rows read; 300 saves of one image are the worst case of those that were."""

    def statements(saves: int) -> int:
        for number in range(saves):
            world.label(world.acts("many"), "a.jpg", world.boxes(1 + number % 3, "bus"))
        count: list[str] = []
        engine = world.studio.database.engine
        sa.event.listen(engine, "before_cursor_execute", lambda *args: count.append(args[2]))
        undone = world.studio.undo.session(world.acts("many"))
        assert len(undone.calls) == saves
        assert sum("annotation_revisions" in text for text in count) < 30
        return len(count)

    before = world.seen()
    few, many = statements(20), statements(60)
    assert many - few <= 2 * 40 + 2 * few
    assert world.seen() == before


def test_all_since_a_restore_point_is_undone(world: World) -> None:
    work(world, "before")
    at, marking = world.seen(), world.acts("marking")
    point = world.studio.changes.mark(marking, "delete_dataset")
    calls = work(world) + work(world, "tuesday")
    (shown,) = world.studio.changes.restore_points(world.principal)
    assert (shown.id, shown.call_id, shown.tool) == (point, marking.call_id, "delete_dataset")
    undone = world.studio.undo.session(world.acts(), restore_point=point)
    assert undone.calls == ids(calls)[::-1]
    assert world.seen() == at
    again = world.refusal(lambda: world.studio.undo.session(world.acts(), restore_point=point))
    assert again.code == "nothing_to_undo"


def test_a_restore_point_narrows_a_session(world: World) -> None:
    first = world.acts("monday")
    world.label(first, "a.jpg", world.boxes(1, "bus"))
    point = world.studio.changes.mark(world.acts(), "t")
    second, other = world.acts("monday"), world.acts("tuesday")
    world.label(second, "b.jpg", world.boxes(1, "bus"))
    world.label(other, "c.jpg", world.boxes(1, "bus"))
    undone = world.studio.undo.session(world.acts(), "monday", restore_point=point)
    assert undone.calls == [second.call_id]


def test_a_member_goes_back_to_a_restore_point_with_its_own_calls(world: World) -> None:
    secret, _ = world.studio.keys.create(world.principal, name="m", role=Role.MEMBER)
    member = world.studio.keys.authenticate(secret)
    point = world.studio.changes.mark(world.acts(), "t")
    foreign, own = world.acts("x"), world.acts("y", member)
    world.label(foreign, "a.jpg", world.boxes(1, "bus"))
    world.label(own, "b.jpg", world.boxes(1, "bus"))
    undone = world.studio.undo.session(world.acts("z", member), restore_point=point)
    assert undone.calls == [own.call_id]


@pytest.mark.parametrize("point", ["", "nothing", "\ud800"], ids=ascii)
def test_an_unknown_restore_point_is_a_clear_error(world: World, point: str) -> None:
    error = world.refusal(lambda: world.studio.undo.session(world.acts(), restore_point=point))
    assert error.code in {"restore_point_not_found", "invalid_text"}


def test_another_organizations_restore_point_is_not_found(world: World, stranger: Principal) -> None:
    point = world.studio.changes.mark(world.acts(), "t")
    work(world)
    abroad = world.acts("monday", stranger)
    error = world.refusal(lambda: world.studio.undo.session(abroad, restore_point=point))
    assert error.code == "restore_point_not_found"


def test_a_deletion_that_was_purged_is_not_undone(world: World) -> None:
    image, dataset = world.acts(), world.acts()
    world.studio.samples.delete(image, world.image("a.jpg"))
    world.studio.datasets.delete(dataset, "signs")
    purging = world.acts()
    purged = world.studio.recycle_bin.purge(purging)
    assert (purged.datasets, purged.images) == (1, 3)
    for call in (image, dataset, purging):
        assert world.undo_refusal(call).code == "purged"
    assert {c.undone_by for c in world.changes(image)} == {"purged"}
    assert [c.dataset for c in world.changes(dataset)] == [None]


def test_an_undo_whose_deletion_was_purged_is_not_undone(world: World) -> None:
    call = world.acts()
    world.add(call, "1.jpg")
    by = world.undo(call)
    world.studio.recycle_bin.purge(world.acts())
    assert world.undo_refusal(by).code == "purged"
    assert world.undo_refusal(call).code == "already_undone"


def test_what_was_done_to_a_purged_dataset_is_not_undone(world: World) -> None:
    calls = work(world)
    world.studio.datasets.delete(world.acts(), "monday")
    world.studio.recycle_bin.purge(world.acts(), dataset="monday")
    for call in calls[6:]:
        assert world.undo_refusal(call).code == "purged"
    world.undo(calls[5])  # what lies elsewhere still can


def test_a_purge_of_one_dataset_leaves_what_the_call_deleted_elsewhere(world: World) -> None:
    """One undo took images out of two datasets; only those of one are purged."""
    world.studio.datasets.create(world.acts("setup"), name="other")
    world.add(world.acts(), "1.jpg")
    world.add(world.acts(), "2.jpg", "other")
    after, by = world.seen(), world.acts("undoing")
    world.studio.undo.session(by, "monday")
    world.studio.recycle_bin.purge(world.acts("purging"), dataset="other")
    left = [b for b in world.studio.recycle_bin.list(world.principal) if b.dataset == "signs"]
    assert [(b.count, b.call_id) for b in left] == [(1, by.call_id)]
    world.undo(by)  # as the bin says: "undo this call to get it back"
    assert [row for row in world.seen() if row[1] == "signs"] == [r for r in after if r[1] == "signs"]


def test_a_deletion_that_was_done_again_and_purged_is_not_undone(world: World) -> None:
    deleting = world.acts()
    world.studio.samples.delete(deleting, world.image("a.jpg"))
    again = world.undo(world.undo(deleting))
    world.studio.recycle_bin.purge(world.acts())
    for call in (deleting, again):
        assert world.undo_refusal(call).code == "purged"


def test_a_session_with_a_purge_is_undone_from_after_it_on(world: World) -> None:
    world.studio.samples.delete(world.acts("earlier"), world.image("c.jpg"))
    world.studio.recycle_bin.purge(world.acts())
    point = world.studio.changes.mark(world.acts(), "t")
    later = world.acts()
    world.label(later, "b.jpg", world.boxes(1, "bus"))
    assert world.refusal(lambda: world.studio.undo.session(world.acts())).code == "purged"
    assert world.studio.undo.session(world.acts(), restore_point=point).calls == [later.call_id]


def test_a_redo_is_not_undone_once_its_call_was_undone_anew(world: World) -> None:
    """Otherwise two undos of one call stand, and taking back either of them does the call again."""
    call = world.acts()
    world.studio.samples.delete(call, world.image("a.jpg"))
    redo = world.undo(world.undo(call))
    anew = world.undo(call)
    assert [c["call_id"] for c in world.undo_refusal(redo).details["calls"]] == [anew.call_id]
    world.undo(anew)
    world.undo(redo)
    assert world.image("a.jpg")


def test_an_undo_that_stands_again_is_told_by_the_call_that_made_it_so(world: World) -> None:
    made = world.acts()
    world.studio.datasets.create(made, name="new")
    again = world.undo(world.undo(made))
    world.undo(world.undo(again))
    redone = world.undo(world.undo(made))
    last = world.undo(again)  # the first undo of all stands again, and the dataset is gone
    error = world.undo_refusal(redone)
    assert (error.code, [c["call_id"] for c in error.details["calls"]]) == ("later_changes", [last.call_id])
