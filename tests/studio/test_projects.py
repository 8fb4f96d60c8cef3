"""Projects: made, listed, hidden from others, taken back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.history import World, signs

from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any) -> World:
    return signs(studio, owner, picture, boxes)


def names(studio: Studio, principal: Principal) -> list[str]:
    return [project.name for project in studio.projects.list(principal)]


def test_every_organization_has_one(studio: Studio, owner: Principal, stranger: Principal) -> None:
    assert (names(studio, owner), names(studio, stranger)) == (["default"], ["default"])
    assert studio.projects.default(owner) == studio.projects.list(owner)[0]
    assert studio.projects.default(owner).row_id != studio.projects.default(stranger).row_id


def test_made_and_found(studio: Studio, owner: Principal) -> None:
    made = studio.projects.create(owner, name="Straße", description="d")
    assert (made.name, made.description, made.dataset_count) == ("Straße", "d", 0)
    assert studio.projects.get(owner, "Straße") == studio.projects.of_row(owner, made.row_id) == made
    assert names(studio, owner) == ["default", "Straße"]
    assert [p.name for p in studio.projects.list(owner, limit=1, offset=1)] == ["Straße"]


def test_datasets_lie_in_one(studio: Studio, owner: Principal) -> None:
    road = studio.projects.create(owner, name="road")
    studio.datasets.create(owner, name="a")
    inside = studio.datasets.create(owner, name="b", project_row_id=road.row_id)
    assert studio.datasets.list(owner, project_row_id=road.row_id) == [inside]
    assert [p.dataset_count for p in studio.projects.list(owner)] == [1, 1]
    studio.datasets.delete(owner, "b")
    assert [p.dataset_count for p in studio.projects.list(owner)] == [1, 0]


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "a\n", "x" * 121, " a"])
def test_names_that_are_none(studio: Studio, owner: Principal, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        studio.projects.create(owner, name=name)
    assert refused.value.code == "invalid_name"
    assert names(studio, owner) == ["default"]


def test_a_name_is_taken_once(studio: Studio, owner: Principal, stranger: Principal) -> None:
    studio.projects.create(stranger, name="road")
    studio.projects.create(owner, name="road")
    with pytest.raises(Conflict) as refused:
        studio.projects.create(owner, name="road")
    assert refused.value.code == "project_exists"
    studio.projects.create(owner, name="Road")
    assert names(studio, owner) == ["default", "road", "Road"]


def test_of_others_nothing_is_known(studio: Studio, owner: Principal, stranger: Principal) -> None:
    theirs = studio.projects.create(stranger, name="theirs")
    looks: list[Callable[[], object]] = [
        lambda: studio.projects.get(owner, "theirs"),
        lambda: studio.projects.of_row(owner, theirs.row_id),
        lambda: studio.projects.of_row(owner, 10**15),
    ]
    for look in looks:
        with pytest.raises(NotFound) as refused:
            look()
        assert refused.value.code == "project_not_found"


def test_of_many_at_once_one_is_made(studio: Studio, owner: Principal) -> None:
    def make(_: int) -> str:
        try:
            return studio.projects.create(owner, name="road").name
        except TintypeError as error:
            return error.code

    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(threads.map(make, range(16)))
    assert outcomes == ["project_exists"] * 15 + ["road"]
    assert names(studio, owner) == ["default", "road"]


def test_undo_and_undo_of_that(world: World) -> None:
    call = world.acts()
    made = world.studio.projects.create(call, name="road")
    undoing = world.undo(call)
    assert names(world.studio, world.principal) == ["default"]
    world.undo(undoing)
    assert world.studio.projects.get(world.principal, "road") == made


def test_no_undo_while_something_lies_in_it(world: World) -> None:
    call = world.acts()
    road = world.studio.projects.create(call, name="road")
    world.studio.datasets.create(world.acts(), name="inside", project_row_id=road.row_id)
    assert world.undo_refusal(call).code == "project_in_use"
    world.studio.datasets.delete(world.acts(), "inside")
    world.undo(call)
    assert names(world.studio, world.principal) == ["default"]


def test_a_dataset_that_comes_back_brings_its_project(world: World) -> None:
    call, deleting = world.acts(), world.acts()
    road = world.studio.projects.create(call, name="road")
    made = world.studio.datasets.create(world.acts(), name="inside", project_row_id=road.row_id)
    world.studio.datasets.delete(deleting, "inside")
    world.undo(call)
    world.undo(deleting)
    assert world.studio.datasets.get(world.principal, "inside").project_row_id == made.project_row_id
    assert names(world.studio, world.principal) == ["default", "road"]


def test_no_return_under_a_name_that_is_taken(world: World) -> None:
    call = world.acts()
    world.studio.projects.create(call, name="road")
    undoing = world.undo(call)
    world.studio.projects.create(world.acts(), name="road")
    assert world.undo_refusal(undoing).code == "name_taken"


def test_a_session_that_made_both_is_taken_back(world: World) -> None:
    road = world.studio.projects.create(world.acts("tuesday"), name="road")
    world.studio.datasets.create(world.acts("tuesday"), name="inside", project_row_id=road.row_id)
    world.studio.undo.session(world.acts("undoing"), "tuesday")
    assert names(world.studio, world.principal) == ["default"]
    assert world.studio.datasets.find(world.principal, "inside") is None
