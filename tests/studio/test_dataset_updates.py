"""Datasets that get another name, description or class list."""

from __future__ import annotations

from typing import Any

import pytest
from support.history import World, signs

from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any) -> World:
    return signs(studio, owner, picture, boxes)


def test_a_renamed_dataset_is_found_by_its_new_name_only(world: World) -> None:
    before = world.studio.datasets.get(world.principal, "signs")
    renamed = world.studio.datasets.update(world.acts(), "signs", new_name="cafe\u0301", description="d")
    assert (renamed.id, renamed.name, renamed.description) == (before.id, "caf\u00e9", "d")
    assert world.studio.datasets.get(world.principal, "café").image_count == before.image_count
    with pytest.raises(NotFound):
        world.studio.datasets.get(world.principal, "signs")


def test_what_is_not_named_stays_and_an_empty_description_goes(world: World) -> None:
    datasets = world.studio.datasets
    datasets.update(world.acts(), "signs", description="d", annotation_types=["bbox", "bbox", "polygon"])
    kept = datasets.update(world.acts(), "signs", new_name="s")
    assert (kept.description, kept.annotation_types) == ("d", ["bbox", "polygon"])
    assert datasets.update(world.acts(), "s", description="").description is None


def test_an_update_that_changes_nothing_is_no_change(world: World) -> None:
    call = world.acts()
    world.studio.datasets.update(call, "signs", new_name="signs")
    assert world.changes(call) == []


@pytest.mark.parametrize(
    ("new_name", "error", "code"),
    [("taken", Conflict, "dataset_exists"), ("a/b", InvalidInput, "invalid_name")],
)
def test_a_name_that_cannot_be_changes_nothing(
    world: World, new_name: str, error: type[Exception], code: str
) -> None:
    world.studio.datasets.create(world.acts(), name="taken")
    refusal = world.refusal(
        lambda: world.studio.datasets.update(world.acts(), "signs", new_name=new_name, description="d")
    )
    assert isinstance(refusal, error)
    assert refusal.code == code


def test_the_name_of_a_deleted_dataset_is_free(world: World) -> None:
    world.studio.datasets.create(world.acts(), name="old")
    world.studio.datasets.delete(world.acts(), "old")
    assert world.studio.datasets.update(world.acts(), "signs", new_name="old").name == "old"


def test_a_rename_is_not_undone_onto_another_dataset(world: World) -> None:
    call, other = world.acts(), world.acts()
    world.studio.datasets.update(call, "signs", new_name="zeichen")
    world.studio.datasets.create(other, name="signs")
    refusal = world.undo_refusal(call)
    assert (type(refusal), refusal.code) == (Conflict, "name_taken")
    world.undo(other)
    world.undo(call)
    assert world.studio.datasets.get(world.principal, "signs").image_count == 3


def test_annotations_of_unlisted_classes_go_and_come_back(world: World) -> None:
    before, call = world.seen(), world.acts()
    removed = world.studio.removal.unlisted(call, "signs", ["bus"])
    world.declare(call, "bus")
    assert (removed.images, removed.annotations) == (1, 3)
    _, left = world.studio.documents.get(world.principal, world.image("b.jpg"))
    assert [a.name for a in left] == ["bus", "bus"]
    assert world.studio.documents.get(world.principal, world.image("a.jpg"))[1] == []
    world.undo(call)
    assert world.seen() == before


def test_nothing_goes_when_all_classes_are_listed(world: World) -> None:
    call = world.acts()
    removed = world.studio.removal.unlisted(call, "signs", ["bus", "car", "Straße"])
    assert (removed.images, removed.annotations) == (0, 0)
    assert world.changes(call) == []


def test_an_empty_class_list_learns_again(world: World) -> None:
    call = world.acts()
    world.studio.removal.unlisted(call, "signs", [])
    world.studio.classes.declare(call, "signs", [])
    world.label(world.acts(), "a.jpg", world.boxes(1, "tram"))
    assert [c.name for c in world.studio.datasets.get(world.principal, "signs").classes] == ["tram"]


def test_deleted_images_are_counted_apart(world: World) -> None:
    world.studio.datasets.create(world.acts(), name="empty")
    world.studio.samples.delete(world.acts(), world.image("a.jpg"))
    listed = world.studio.datasets.list(world.principal)
    counts = world.studio.datasets.in_bin(listed)
    assert {d.name: counts[d.id] for d in listed} == {"signs": 1, "empty": 0}
