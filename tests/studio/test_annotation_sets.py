"""Annotation sets: several answers to the same pictures, deleted and brought back whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.history import World, signs

from tintype_studio.catalog.dataset_rows import set_of_row
from tintype_studio.errors import InvalidInput, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any) -> World:
    return signs(studio, owner, picture, boxes)


def sets(world: World) -> dict[str, tuple[int, int]]:
    found = world.studio.annotation_sets.list(world.principal, "signs")
    return {each.name: (each.sample_count, each.annotation_count) for each in found}


def make(world: World, name: str, who: Principal | None = None) -> Principal:
    who = who or world.acts()
    world.studio.annotation_sets.create(who, "signs", name=name)
    return who


def save(world: World, filename: str, count: int, name: str, *, label: str = "car") -> Principal:
    who = world.acts()
    world.studio.documents.save(who, world.image(filename), world.boxes(count, label), annotation_set=name)
    return who


def test_counted_by_what_stands_now(world: World) -> None:
    make(world, "model")
    save(world, "a.jpg", 5, "model")
    save(world, "a.jpg", 2, "model")
    save(world, "b.jpg", 3, "model")
    save(world, "c.jpg", 3, "model")
    save(world, "c.jpg", 0, "model")
    assert sets(world) == {"default": (2, 5), "model": (2, 5)}
    world.studio.samples.delete(world.acts(), world.image("b.jpg"))
    assert sets(world) == {"default": (1, 3), "model": (1, 2)}


def test_found_by_name_and_row(world: World) -> None:
    studio, owner = world.studio, world.principal
    made = studio.annotation_sets.create(world.acts(), "signs", name="model", description="d")
    assert studio.annotation_sets.get(owner, "signs", "model") == made
    row = set_of_row(studio, owner, made.row_id)
    assert (row.id, row.name, row.description, row.dataset.name) == (made.id, "model", "d", "signs")
    dataset = studio.datasets.get(owner, "signs")
    assert [row["name"] for row in studio.annotation_sets.names(dataset)] == ["default", "model"]


def test_only_the_default_one_counts(world: World) -> None:
    before = world.studio.datasets.get(world.principal, "signs")
    make(world, "model")
    save(world, "c.jpg", 4, "model")
    after = world.studio.datasets.get(world.principal, "signs")
    assert (after.annotation_count, after.completed_image_count) == (
        before.annotation_count,
        before.completed_image_count,
    )


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 121, "\ud800"])
def test_names_that_are_none(world: World, name: str) -> None:
    refused = world.refusal(lambda: make(world, name))
    assert isinstance(refused, InvalidInput)
    assert refused.code == "invalid_name"


def test_what_cannot_be(world: World, stranger: Principal) -> None:
    kept = world.studio.annotation_sets
    assert world.refusal(lambda: make(world, "default")).code == "annotation_set_exists"
    assert world.refusal(lambda: kept.delete(world.acts(), "signs", "default")).code == "default_set"
    missing = world.refusal(lambda: kept.delete(world.acts(), "signs", "x"))
    assert missing.code == "annotation_set_not_found"
    with pytest.raises(NotFound):
        kept.create(stranger, "signs", name="theirs")
    with pytest.raises(NotFound):
        kept.delete(stranger, "signs", "default")


def test_of_many_at_once_one_is_made(world: World) -> None:
    def one(_: int) -> str:
        try:
            make(world, "model")
            return "made"
        except TintypeError as error:
            return error.code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(one, range(12))) == ["annotation_set_exists"] * 11 + ["made"]
    assert list(sets(world)) == ["default", "model"]


def test_a_deleted_one_gives_its_name_up(world: World) -> None:
    make(world, "model")
    save(world, "a.jpg", 2, "model")
    gone = world.studio.annotation_sets.delete(world.acts(), "signs", "model")
    assert (gone.sample_count, gone.annotation_count) == (1, 2)
    with pytest.raises(NotFound):
        set_of_row(world.studio, world.principal, gone.row_id)
    with pytest.raises(NotFound):
        save(world, "a.jpg", 1, "model")
    make(world, "model")
    assert sets(world) == {"default": (2, 5), "model": (0, 0)}


def test_undo_of_a_deletion_brings_all_back(world: World) -> None:
    make(world, "model")
    save(world, "a.jpg", 2, "model", label="only here")
    before = world.studio.annotation_sets.get(world.principal, "signs", "model")
    deleting = world.acts()
    world.studio.annotation_sets.delete(deleting, "signs", "model")
    undoing = world.undo(deleting)
    assert world.studio.annotation_sets.get(world.principal, "signs", "model") == before
    world.undo(undoing)
    assert list(sets(world)) == ["default"]


def test_what_comes_back_brings_its_labels(world: World) -> None:
    make(world, "model")
    save(world, "a.jpg", 2, "model", label="only here")
    deleting = world.acts()
    world.studio.annotation_sets.delete(deleting, "signs", "model")
    world.studio.labels.change(world.acts(), "signs", remove=["only here"])
    world.undo(deleting)
    assert "only here" in {label.name for label in world.studio.labels.list(world.principal, "signs")}


def test_a_declared_list_keeps_it_out(world: World) -> None:
    make(world, "model")
    save(world, "a.jpg", 2, "model", label="only here")
    deleting, declaring = world.acts(), world.acts()
    world.studio.annotation_sets.delete(deleting, "signs", "model")
    world.declare(declaring, "car", "Straße", "bus")
    assert world.undo_refusal(deleting).code == "class_missing"
    world.undo(declaring)
    world.undo(deleting)
    assert sets(world)["model"] == (1, 2)


def test_no_return_under_a_name_that_is_taken(world: World) -> None:
    make(world, "model")
    deleting = world.acts()
    world.studio.annotation_sets.delete(deleting, "signs", "model")
    again = make(world, "model")
    assert world.undo_refusal(deleting).code == "name_taken"
    world.undo(again)
    world.undo(deleting)
    assert list(sets(world)) == ["default", "model"]


def test_undo_of_a_creation_and_undo_of_that(world: World) -> None:
    making = make(world, "model")
    undoing = world.undo(making)
    assert list(sets(world)) == ["default"]
    world.undo(undoing)
    assert list(sets(world)) == ["default", "model"]


def test_what_builds_on_it_is_named(world: World) -> None:
    making = make(world, "model")
    saving = save(world, "a.jpg", 2, "model")
    refused = world.undo_refusal(making)
    assert refused.details["calls"] == [{"call_id": saving.call_id, "tool": "some_tool"}]
    deleting = world.acts()
    world.studio.annotation_sets.delete(deleting, "signs", "model")
    refused = world.undo_refusal(saving)
    assert refused.details["calls"] == [{"call_id": deleting.call_id, "tool": "some_tool"}]
    world.studio.undo.session(world.acts("undoing"), "monday")
    assert sets(world) == {"default": (2, 5)}
