"""Undo: what a call changed is put back, byte for byte, or nothing happens and the error says why."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from support.deeds import (
    DEEDS,
    add_images,
    delete_dataset_that_lost_an_image_before,
    save,
    world,
)
from support.history import World

from tintype_studio.errors import Conflict, Forbidden, NotFound
from tintype_studio.history import undo
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage import tables

__all__ = ["world"]


@pytest.fixture(params=DEEDS, ids=lambda deed: deed.__name__)
def deed(request: pytest.FixtureRequest, world: World) -> Any:
    if request.param is delete_dataset_that_lost_an_image_before:
        world.studio.samples.delete(world.acts("setup"), world.image("b.jpg"))
    return request.param


def test_an_undo_puts_back_what_was_there(world: World, deed: Any) -> None:
    before, call = world.seen(), world.acts()
    deed(world, call)
    assert world.seen() != before
    by = world.undo(call)
    assert world.seen() == before
    assert {c.undone_by for c in world.changes(call)} == {by.call_id}
    assert {c.undo_of for c in world.changes(by)} == {call.call_id}


def test_an_undo_is_undone_and_that_again(world: World, deed: Any, check_counters: Any) -> None:
    states, call = [world.seen()], world.acts()
    deed(world, call)
    states.append(world.seen())
    last = call
    for step in range(4):
        last = world.undo(last)
        assert world.seen() == states[step % 2]
        for dataset in world.studio.datasets.list(world.principal):
            check_counters(world.studio, world.principal, dataset.name)
        assert {c.undone_by is None for c in world.changes(last)} == {True}


def test_a_call_that_was_done_again_is_undone_again(world: World, deed: Any) -> None:
    before, call = world.seen(), world.acts()
    deed(world, call)
    world.undo(world.undo(call))
    world.undo(call)
    assert world.seen() == before


def test_an_undone_call_names_the_call_that_undid_it(world: World) -> None:
    call = world.acts()
    save(world, call)
    by = world.undo(call)
    error = world.undo_refusal(call)
    assert (error.code, error.details) == ("already_undone", {"undone_by": by.call_id})
    assert str(by.call_id) in error.message


def test_a_call_whose_redo_was_undone_is_undone(world: World) -> None:
    call = world.acts()
    save(world, call)
    world.undo(world.undo(call))
    assert [c.undone_by for c in world.changes(call)] == [None]
    call = world.acts()
    add_images(world, call)
    by = world.undo(call)
    world.undo(world.undo(by))  # the first undo stands again, and with it what it says
    assert [c.undone_by for c in world.changes(call)] == [by.call_id]
    assert [c.undone_by for c in world.changes(by)] == [None]
    assert world.undo_refusal(call).code == "already_undone"
    world.undo(by)
    assert [c.undone_by for c in world.changes(call)] == [None]


def test_of_two_undos_at_once_one_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server database: both have read the rows before one of them marks them."""
    call, before = world.acts(), world.seen()
    add_images(world, call)
    read = undo._rows

    def read_then_lose(*args: Any) -> Any:
        monkeypatch.setattr(undo, "_rows", read)
        rows = read(*args)
        winner.append(world.acts("winner"))
        connection = args[0]
        mine = tables.changes.c.call_id == call.call_id
        connection.execute(sa.update(tables.changes).where(mine).values(undone_by=winner[0].call_id))
        return rows

    winner: list[Principal] = []
    monkeypatch.setattr(undo, "_rows", read_then_lose)
    error = world.undo_refusal(call)
    assert (error.code, error.details) == ("already_undone", {"undone_by": winner[0].call_id})
    world.undo(call)
    assert world.seen() == before


def test_another_organization_has_nothing_to_undo(world: World, stranger: Principal) -> None:
    call = world.acts()
    save(world, call)
    abroad = world.acts("monday", stranger)
    assert world.undo_refusal(call, abroad).code == "nothing_to_undo"
    assert world.refusal(lambda: world.studio.undo.session(abroad, "monday")).code == "nothing_to_undo"


@pytest.mark.parametrize("call_id", ["", "nothing", "x" * 5000, "\ud800", "%", "' OR 1=1 --"], ids=ascii)
def test_an_unknown_call_is_a_clear_error(world: World, call_id: str) -> None:
    error = world.refusal(lambda: world.studio.undo.call(world.acts(), call_id))
    assert error.code in {"nothing_to_undo", "invalid_text"}
    assert len(error.message) < 200


def test_a_call_that_changed_nothing_has_nothing_to_undo(world: World) -> None:
    reading, failing = world.acts(), world.acts()
    world.studio.datasets.get(reading, "signs")
    with pytest.raises(Conflict):
        world.studio.datasets.create(failing, name="signs")
    with pytest.raises(NotFound):
        world.studio.samples.delete(failing, "nothing")
    for call in (reading, failing):
        assert world.undo_refusal(call).code == "nothing_to_undo"


def test_a_member_undoes_its_own_calls_and_an_admin_all(world: World) -> None:
    def someone(role: Role) -> Principal:
        secret, _ = world.studio.keys.create(world.principal, name=role.value, role=role)
        return world.studio.keys.authenticate(secret)

    member, other, admin = someone(Role.MEMBER), someone(Role.MEMBER), someone(Role.ADMIN)
    call = world.acts(principal=member)
    save(world, call)
    error = world.undo_refusal(call, world.acts(principal=other))
    assert (type(error), error.code) == (Forbidden, "not_your_own")
    again = world.undo(world.undo(call, world.acts(principal=member)), world.acts(principal=admin))
    # What an admin did again is the admin's.
    assert world.undo_refusal(again, world.acts(principal=member)).code == "not_your_own"


def test_a_members_keys_are_one_person(world: World) -> None:
    token, _ = world.studio.invites.create(world.principal, email="ann@example.com", role=Role.MEMBER)
    accepted = world.studio.invites.accept(token)
    secret, _ = world.studio.keys.create(
        world.principal, name="second", role=Role.MEMBER, user_id=accepted.user_id
    )
    first, second = (world.studio.keys.authenticate(key) for key in (accepted.api_key, secret))
    assert first.key_id != second.key_id
    before, call = world.seen(), world.acts(principal=first)
    save(world, call)
    world.undo(call, world.acts(principal=second))
    assert world.seen() == before
