"""Parked results: read on by handle, by the same key, for an hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import stored_results
from tintype_studio.studio import Studio

ITEMS = [{"n": n, "text": "é😀", "deep": [None, True, 1.5]} for n in range(10)]


@pytest.fixture
def handle(studio: Studio, owner: Principal) -> str:
    return studio.results.park(owner, tool="list_datasets", path="datasets", items=ITEMS)


@pytest.mark.parametrize("offset", [0, 4, 9, 10, 500])
def test_the_rest_is_read_from_any_offset(studio: Studio, owner: Principal, handle: str, offset: int) -> None:
    parked = studio.results.read(owner, handle, offset=offset)
    assert (parked.tool, parked.path, parked.total) == ("list_datasets", "datasets", 10)
    assert parked.items == ITEMS[offset:]


def test_reading_does_not_use_it_up(studio: Studio, owner: Principal, handle: str, open_studio: Any) -> None:
    assert studio.results.read(owner, handle, offset=0) == open_studio().results.read(owner, handle, offset=0)


def test_another_key_cannot_read_a_handle(
    studio: Studio, owner: Principal, stranger: Principal, handle: str
) -> None:
    secret, _ = studio.keys.create(owner, name="colleague", role=Role.OWNER)
    for other in (studio.keys.authenticate(secret), stranger):
        with pytest.raises(NotFound) as caught:
            studio.results.read(other, handle, offset=0)
        assert caught.value.code == "result_not_found"
    assert studio.results.read(owner, handle, offset=0).total == 10


@pytest.mark.parametrize("wrong", ["", "absent", "%", "\ud800"], ids=ascii)
def test_an_unknown_handle_is_a_clear_error(
    studio: Studio, owner: Principal, handle: str, wrong: str
) -> None:
    with pytest.raises((NotFound, InvalidInput)):
        studio.results.read(owner, wrong, offset=0)


def test_a_handle_ends_after_an_hour(studio: Studio, owner: Principal, handle: str, move_clock: Any) -> None:
    move_clock(timedelta(minutes=59))
    studio.results.read(owner, handle, offset=0)
    move_clock(timedelta(minutes=61))
    with pytest.raises(NotFound):
        studio.results.read(owner, handle, offset=0)


def test_expired_results_are_dropped_at_the_next_start(
    studio: Studio, owner: Principal, handle: str, move_clock: Any, open_studio: Any
) -> None:
    move_clock(timedelta(hours=2))
    fresh = studio.results.park(owner, tool="t", path="p", items=[])
    open_studio()
    with studio.database.read() as connection:
        assert connection.execute(sa.select(stored_results.c.handle)).scalars().all() == [fresh]


def test_handles_cannot_be_guessed_from_each_other(studio: Studio, owner: Principal) -> None:
    handles = {studio.results.park(owner, tool="t", path="p", items=[]) for _ in range(20)}
    assert len(handles) == 20
    assert all(len(h) >= 24 for h in handles)
