"""What later changes build on is not undone, and what comes back fits in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.deeds import (
    add_images,
    create_dataset,
    declare_classes,
    delete_dataset,
    delete_image,
    delete_images,
    learn_a_class,
    rename,
    save,
    save_several_times,
    world,
)
from support.history import World

from tintype_studio.errors import UndoConflict
from tintype_studio.exports.service import ExportOptions

__all__ = ["world"]


LATER: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "a save over a save": (save, save_several_times),
    "a deletion of a labelled image": (save, delete_image),
    "a deletion of the whole dataset": (save, delete_dataset),
    "labels of an image that was added": (
        lambda w, who: w.add(who, "1.jpg"),
        lambda w, who: w.label(who, "1.jpg", w.boxes(1, "bus")),
    ),
    "a deletion of an image that was added": (
        lambda w, who: w.add(who, "1.jpg"),
        lambda w, who: w.studio.samples.delete(who, w.image("1.jpg")),
    ),
    "images in a dataset that was made": (create_dataset, lambda w, who: w.add(who, "1.jpg", "new")),
    "the deletion of a dataset that was made": (
        create_dataset,
        lambda w, who: w.studio.datasets.delete(who, "new"),
    ),
    "a name over a name": (
        rename,
        lambda w, who: w.studio.datasets.update(who, "Schilder é", new_name="panneaux"),
    ),
    "the deletion of a dataset that was renamed": (
        rename,
        lambda w, who: w.studio.datasets.delete(who, "Schilder é"),
    ),
    "a class list over a class list": (
        declare_classes,
        lambda w, who: w.declare(who, "Straße", "bus", "car"),
    ),
    "the deletion of a dataset whose classes were set": (declare_classes, delete_dataset),
    "the deletion of a dataset that lost an image": (delete_image, delete_dataset),
}


@pytest.mark.parametrize("case", LATER)
def test_what_later_changes_build_on_is_not_undone(world: World, case: str) -> None:
    first, second = LATER[case]
    before, call, later = world.seen(), world.acts(), world.acts()
    first(world, call)
    second(world, later)
    error = world.undo_refusal(call)
    assert isinstance(error, UndoConflict)
    assert error.code == "later_changes"
    assert error.details == {"calls": [{"call_id": later.call_id, "tool": "some_tool"}], "count": 1}
    assert str(later.call_id) in error.message
    world.undo(later)
    world.undo(call)
    assert world.seen() == before


def test_all_later_calls_are_named_newest_first(world: World) -> None:
    call, later = world.acts(), [world.acts() for _ in range(30)]
    save(world, call)
    for number, one in enumerate(later):
        world.label(one, "a.jpg", world.boxes(number % 3, "bus"))
    details = world.undo_refusal(call).details
    assert [c["call_id"] for c in details["calls"]] == [c.call_id for c in reversed(later)][:20]
    assert details["count"] == 30


def test_a_change_outside_of_any_call_stands_in_the_way_too(world: World) -> None:
    call = world.acts()
    save(world, call)
    world.label(world.principal, "a.jpg", world.boxes(1, "bus"))
    error = world.undo_refusal(call)
    assert error.details["calls"] == [{"call_id": "(outside of any call)", "tool": None}]


def test_changes_of_other_images_do_not_stand_in_the_way(world: World) -> None:
    call, other = world.acts(), world.acts()
    save(world, call)
    world.label(other, "b.jpg", world.boxes(4, "bus"))
    add_images(world, world.acts())
    world.undo(call)
    assert world.studio.documents.get(world.principal, world.image("b.jpg"))[1] == world.boxes(4, "bus")


def test_an_undo_is_not_undone_once_something_was_done_since(world: World) -> None:
    call, later = world.acts(), world.acts()
    save(world, call)
    by = world.undo(call)
    world.label(later, "a.jpg", world.boxes(1, "bus"))
    assert [c["call_id"] for c in world.undo_refusal(by).details["calls"]] == [later.call_id]


def test_undos_are_undone_in_their_own_order_only(world: World) -> None:
    """Bringing back labels of an image that a later undo took away would label what is not there."""
    adding, labelling = world.acts(), world.acts()
    world.add(adding, "1.jpg")
    world.label(labelling, "1.jpg", world.boxes(2, "bus"))
    first = world.undo(labelling)
    second = world.undo(adding)
    assert [c["call_id"] for c in world.undo_refusal(first).details["calls"]] == [second.call_id]


def test_a_redone_save_is_not_overwritten_by_another_redo(world: World) -> None:
    one, two = world.acts(), world.acts()
    world.label(one, "c.jpg", world.boxes(1, "bus"))
    world.label(two, "c.jpg", world.boxes(2, "bus"))
    first, second = world.undo(two), world.undo(one)
    assert world.undo_refusal(first).code == "later_changes"
    world.undo(second)
    world.undo(first)
    assert world.studio.documents.get(world.principal, world.image("c.jpg"))[1] == world.boxes(2, "bus")


def test_images_do_not_come_back_into_a_dataset_that_is_gone(world: World) -> None:
    making, adding = world.acts(), world.acts()
    create_dataset(world, making)
    world.add(adding, "1.jpg", "new")
    first, second = world.undo(adding), world.undo(making)
    assert [c["call_id"] for c in world.undo_refusal(first).details["calls"]] == [second.call_id]


def test_a_deleted_dataset_does_not_come_back_over_a_namesake(world: World) -> None:
    call, namesake = world.acts(), world.acts()
    before = world.seen()
    delete_dataset(world, call)
    world.studio.datasets.create(namesake, name="signs")
    error = world.undo_refusal(call)
    assert (error.code, "'signs'" in error.message) == ("name_taken", True)
    world.undo(namesake)
    world.undo(call)
    assert world.seen() == before


def test_a_deleted_image_does_not_come_back_over_a_namesake(world: World) -> None:
    call, namesake = world.acts(), world.acts()
    before = world.seen()
    delete_images(world, call)
    world.add(namesake, "c.jpg")
    error = world.undo_refusal(call)
    assert (error.code, "'c.jpg'" in error.message) == ("name_taken", True)
    world.undo(namesake)
    world.undo(call)
    assert world.seen() == before


def test_a_class_list_that_annotations_need_is_not_undone(world: World) -> None:
    call, later = world.acts(), world.acts()
    declare_classes(world, call)
    world.label(later, "c.jpg", world.boxes(1, "tram"))
    error = world.undo_refusal(call)
    assert (error.code, "tram" in error.message) == ("class_in_use", True)


def test_annotations_do_not_come_back_without_their_classes(world: World) -> None:
    call = world.acts()
    world.label(call, "a.jpg", [])
    world.declare(world.acts(), "bus")
    error = world.undo_refusal(call)
    assert (error.code, "Straße" in error.message) == ("class_missing", True)


def test_classes_that_others_use_by_now_stay(world: World) -> None:
    call = world.acts()
    learn_a_class(world, call)
    world.label(world.acts(), "b.jpg", world.boxes(1, "tram"))
    world.undo(call)
    assert [c.name for c in world.studio.datasets.get(world.principal, "signs").classes] == [
        "car",
        "Straße",
        "bus",
        "tram",
    ]


def test_an_image_comes_back_with_its_classes(world: World) -> None:
    """Only the deleted image still had the class when the save that taught it was undone."""
    call, deleting = world.acts(), world.acts()
    world.label(call, "b.jpg", world.boxes(1, "tram"))
    world.label(world.acts(), "c.jpg", world.boxes(1, "tram"))
    world.studio.samples.delete(deleting, world.image("c.jpg"))
    world.undo(call)
    world.undo(deleting)
    classes = [c.name for c in world.studio.datasets.get(world.principal, "signs").classes]
    assert "tram" in classes
    export = world.studio.exports.create(
        world.principal, dataset_name="signs", name="e", options=ExportOptions(format="coco")
    )
    assert export.status == "completed"


def test_a_class_learned_after_an_undo_stands_last(world: World) -> None:
    """The order of the classes is the order of their numbers in an export."""
    call = world.acts()
    learn_a_class(world, call)
    world.label(world.acts(), "b.jpg", world.boxes(1, "zebra"))
    world.undo(call)
    world.label(world.acts(), "c.jpg", world.boxes(1, "ant"))
    classes = [c.name for c in world.studio.datasets.get(world.principal, "signs").classes]
    assert classes == ["car", "Straße", "bus", "zebra", "ant"]


def test_labels_on_what_came_back_stand_in_the_way_of_its_deletion(world: World) -> None:
    deleting, theirs = world.acts(), world.acts("theirs")
    world.studio.samples.delete(deleting, world.image("a.jpg"))
    by = world.undo(deleting)
    world.label(theirs, "b.jpg", world.boxes(1, "bus"))  # another image, which is no matter
    world.label(theirs, "a.jpg", world.boxes(3, "bus"))
    error = world.undo_refusal(by)
    assert [c["call_id"] for c in error.details["calls"]] == [theirs.call_id]
    world.undo(theirs)
    world.undo(by)


def test_labels_outside_of_calls_on_what_came_back_count_too(world: World) -> None:
    deleting = world.acts()
    world.studio.samples.delete(deleting, world.image("a.jpg"))
    by = world.undo(deleting)
    world.label(world.principal, "a.jpg", world.boxes(3, "bus"))
    assert world.undo_refusal(by).details["calls"] == [{"call_id": "(outside of any call)", "tool": None}]


def test_a_later_deletion_of_what_came_back_stands_in_the_way(world: World) -> None:
    """Also when the images came by an upload, whose deletion names none of them."""
    adding, later = world.acts(), world.acts()
    add_images(world, adding)
    again = world.undo(world.undo(adding))
    world.studio.samples.delete(later, world.image("2.jpg"))
    assert [c["call_id"] for c in world.undo_refusal(again).details["calls"]] == [later.call_id]
    first = world.acts()
    world.studio.samples.delete(first, world.image("a.jpg"))
    by, second = world.undo(first), world.acts()
    world.studio.samples.delete(second, world.image("a.jpg"))
    assert [c["call_id"] for c in world.undo_refusal(by).details["calls"]] == [second.call_id]


def test_what_was_done_in_a_dataset_that_came_back_stands_in_the_way(world: World) -> None:
    deleting, theirs = world.acts(), world.acts("theirs")
    delete_dataset(world, deleting)
    by = world.undo(deleting)
    world.label(theirs, "c.jpg", world.boxes(3, "bus"))
    assert [c["call_id"] for c in world.undo_refusal(by).details["calls"]] == [theirs.call_id]


def test_undos_out_of_order_leave_the_counters_true(world: World, check_counters: Any) -> None:
    """Labels must not come back to an image that an undo of its upload took away."""
    uploading, saving = world.acts(), world.acts()
    world.add(uploading, "1.jpg")
    world.label(saving, "1.jpg", world.boxes(1, "bus"))
    unsaving = world.undo(saving)
    removing = world.undo(uploading)
    assert [c["call_id"] for c in world.undo_refusal(unsaving).details["calls"]] == [removing.call_id]
    world.undo(removing)
    world.undo(unsaving)
    assert check_counters(world.studio, world.principal, "signs").annotation_count == 6
