"""Parked results: read on by handle, by the same key, for an hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.history import results
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


def test_an_equal_list_is_stored_once_for_each_key(studio: Studio, owner: Principal, handle: str) -> None:
    colleague = studio.keys.authenticate(studio.keys.create(owner, name="c", role=Role.OWNER)[0])
    for _ in range(5):
        assert studio.results.park(owner, tool="list_datasets", path="datasets", items=ITEMS) == handle
    theirs = studio.results.park(colleague, tool="list_datasets", path="datasets", items=ITEMS)
    assert theirs != handle
    assert len(rows(studio)) == 2
    for changed in (
        {"tool": "t", "path": "datasets", "items": ITEMS},
        {"tool": "list_datasets", "path": "p", "items": ITEMS},
        {"tool": "list_datasets", "path": "datasets", "items": ITEMS[1:]},
    ):
        assert studio.results.park(owner, **changed) not in {handle, theirs}
    assert len(rows(studio)) == 5


@pytest.mark.parametrize("minutes", [50, 70])
def test_a_list_that_is_parked_again_stays_an_hour_more(
    studio: Studio, owner: Principal, handle: str, move_clock: Any, minutes: int
) -> None:
    """Even one that had expired, and was not dropped yet."""
    move_clock(timedelta(minutes=minutes))
    studio.results.park(owner, tool="list_datasets", path="datasets", items=ITEMS)
    move_clock(timedelta(minutes=minutes + 59))
    studio.results.sweep()
    assert studio.results.read(owner, handle, offset=0).items == ITEMS


def test_a_key_has_so_much_room_and_its_oldest_lists_go(
    studio: Studio, owner: Principal, stranger: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "KEY_BYTES", 50_000)
    theirs = studio.results.park(stranger, tool="t", path="p", items=["x" * 40_000])
    handles = [studio.results.park(owner, tool="t", path="p", items=[n, "x" * 10_000]) for n in range(9)]
    for n, handle in enumerate(handles):
        if n < 5:
            with pytest.raises(NotFound) as caught:
                studio.results.read(owner, handle, offset=0)
            assert caught.value.code == "result_not_found"
        else:
            assert studio.results.read(owner, handle, offset=0).items[0] == n
    assert studio.results.read(stranger, theirs, offset=0).total == 1
    huge = studio.results.park(owner, tool="t", path="p", items=["x" * 90_000])
    assert studio.results.read(owner, huge, offset=0).total == 1, "an answer is never lost to its own size"
    assert len(rows(studio)) == 2


def test_a_list_that_is_used_again_is_not_the_oldest(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch, move_clock: Any
) -> None:
    monkeypatch.setattr(results, "KEY_BYTES", 25_000)
    parked = [studio.results.pack(owner, tool="t", path="p", items=[n, "x" * 10_000]) for n in range(3)]
    for second, n in enumerate((0, 1, 0, 2)):
        move_clock(timedelta(seconds=second))
        studio.results.keep(parked[n])
    assert sorted(rows(studio)) == sorted([parked[0].handle, parked[2].handle])


def test_a_crowd_of_small_lists_is_bounded_too(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "KEY_BYTES", 10 * results.LIST_BYTES)
    for n in range(30):
        studio.results.park(owner, tool="t", path="p", items=[n])
    assert len(rows(studio)) == 10


def rows(studio: Studio) -> list[str]:
    with studio.database.read() as connection:
        return list(connection.execute(sa.select(stored_results.c.handle)).scalars())
