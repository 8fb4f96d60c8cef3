"""Short writes of many callers in one transaction: each stands for itself, and none is told a tale."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from support import crowds
from support.crowds import Work

from tintype_studio.errors import Conflict, Unavailable
from tintype_studio.storage.tables import accounts
from tintype_studio.storage.together import Piece
from tintype_studio.studio import Studio


def balance(studio: Studio) -> int:
    with studio.database.read() as connection:
        return int(connection.execute(sa.select(accounts.c.balance)).scalar_one())


def spend(connection: sa.Connection) -> str:
    connection.execute(sa.update(accounts).values(balance=accounts.c.balance - 1))
    return "spent"


def in_one_batch(studio: Studio, *works: Work) -> list[Any]:
    return crowds.in_one_batch(studio.database, *works)


def commits(studio: Studio) -> list[int]:
    seen: list[int] = []
    sa.event.listen(studio.database.engine, "commit", lambda _connection: seen.append(1))
    return seen


def test_one_commit_does_for_all(studio: Studio) -> None:
    before, seen = balance(studio), commits(studio)
    assert in_one_batch(studio, *[spend] * 20) == ["spent"] * 20
    assert (balance(studio), len(seen)) == (before - 20, 1)


class Spend:
    """A ``Joint``: several are one update. ``refuse`` is what is refused when written by itself."""

    batches: list[int] = []

    def __init__(self, amount: int, *, refuse: bool = False) -> None:
        self.amount, self.refuse = amount, refuse

    def __call__(self, connection: sa.Connection) -> str:
        if self.refuse:
            raise Conflict("no")
        connection.execute(sa.update(accounts).values(balance=accounts.c.balance - self.amount))
        return f"{self.amount} alone"

    @classmethod
    def many(cls, connection: sa.Connection, pieces: Sequence[Spend]) -> list[str]:
        cls.batches.append(len(pieces))
        together = sum(piece.amount for piece in pieces)
        connection.execute(sa.update(accounts).values(balance=accounts.c.balance - together))
        if any(piece.refuse for piece in pieces):
            raise RuntimeError("one of them")
        return [f"{piece.amount} of {together}" for piece in pieces]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    monkeypatch.setattr(Spend, "batches", [])
    return Spend.batches


def test_pieces_of_a_class_are_written_at_once_and_each_gets_its_own(
    studio: Studio, batches: list[int]
) -> None:
    before = balance(studio)
    got = in_one_batch(studio, Spend(3), spend, Spend(4), spend, Spend(5))
    assert got == ["3 of 12", "spent", "4 of 12", "spent", "5 of 12"]
    assert (batches, balance(studio)) == ([3], before - 14)
    assert studio.database.together(Spend(6)) == "6 alone"
    assert in_one_batch(studio, Spend(1), spend) == ["1 alone", "spent"]
    assert (batches, balance(studio)) == ([3], before - 22)


def test_what_is_refused_at_once_is_taken_back_and_written_one_by_one(
    studio: Studio, batches: list[int]
) -> None:
    before, seen = balance(studio), commits(studio)
    got = in_one_batch(studio, Spend(3), spend, Spend(4, refuse=True), Spend(5))
    assert (got[0], got[1], got[3]) == ("3 alone", "spent", "5 alone")
    assert isinstance(got[2], Conflict)
    assert (batches, balance(studio), len(seen)) == ([3], before - 9, 1)


def test_a_piece_that_fails_is_undone_alone(studio: Studio) -> None:
    def fail(connection: sa.Connection) -> None:
        spend(connection)
        raise Conflict("no")

    before = balance(studio)
    first, second, third = in_one_batch(studio, spend, fail, spend)
    assert (first, third, balance(studio)) == ("spent", "spent", before - 2)
    assert isinstance(second, Conflict)
    with pytest.raises(Conflict):
        studio.database.together(fail)
    assert balance(studio) == before - 2


def test_a_commit_that_fails_fails_them_all(studio: Studio) -> None:
    def fail(_connection: sa.Connection) -> None:
        raise Unavailable("the disk", code="storage_failed")

    before = balance(studio)
    sa.event.listen(studio.database.engine, "commit", fail)
    got = in_one_batch(studio, spend, spend)
    assert [error.code for error in got] == ["storage_failed"] * 2
    sa.event.remove(studio.database.engine, "commit", fail)
    assert balance(studio) == before
    assert studio.database.together(spend) == "spent"


def test_a_full_disk_under_one_piece_makes_none_of_them_true(studio: Studio) -> None:
    """SQLite gives up the whole transaction by itself; what came after would be written without one."""

    def fill(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
        connection.exec_driver_sql("CREATE TABLE filler (x)")
        connection.exec_driver_sql("INSERT INTO filler VALUES (zeroblob(1000000))")

    before = balance(studio)
    got = in_one_batch(studio, spend, fill, spend)
    assert [error.code for error in got] == ["storage_failed"] * 3
    assert balance(studio) == before


def test_a_full_disk_inside_a_unit_of_work_ends_it(studio: Studio) -> None:

    def work() -> None:
        with studio.database.unit_of_work() as unit:
            spend(unit.connection())
            unit.connection().connection.driver_connection.execute("ROLLBACK")  # type: ignore[union-attr]
            with studio.database.write() as connection:
                spend(connection)

    before = balance(studio)
    with pytest.raises(Unavailable):
        work()
    assert balance(studio) == before


def test_whoever_is_interrupted_while_waiting_takes_the_work_along(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was told to lead by then or not, the others are served."""
    wait, ended = Piece.wait, []

    def interrupted(piece: Piece[Any]) -> None:
        if piece.work is not stopped:
            return wait(piece)
        wait(piece) if ended else time.sleep(0.01)
        raise KeyboardInterrupt

    def stopped(connection: sa.Connection) -> str:
        return spend(connection)

    def quietly() -> None:
        with suppress(KeyboardInterrupt):
            studio.database.together(stopped)

    monkeypatch.setattr(Piece, "wait", interrupted)
    before = balance(studio)
    for told_to_lead in (False, True):
        ended[:] = [True] if told_to_lead else []
        with studio.database._writers:  # the first one leads, and cannot begin
            threads = [threading.Thread(target=studio.database.together, args=(spend,), daemon=True)]
            threads[0].start()
            while not studio.database._together.pieces:
                time.sleep(0.001)
            if told_to_lead:  # the leader takes all that it finds, so this one comes while it writes
                monkeypatch.setattr("tintype_studio.storage.together.MOST_TOGETHER", 1)
            threads.append(threading.Thread(target=quietly, daemon=True))
            threads[1].start()
            while told_to_lead and len(studio.database._together.pieces) < 2:
                time.sleep(0.001)
            if not told_to_lead:
                threads[1].join(10)
            threads.append(threading.Thread(target=studio.database.together, args=(spend,), daemon=True))
            threads[2].start()
            while len(studio.database._together.pieces) < (3 if told_to_lead else 2):
                time.sleep(0.001)
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        before -= 2
        assert balance(studio) == before
    assert studio.database.together(spend) == "spent"


def test_a_transaction_that_cannot_begin_is_told_to_its_caller(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_how: object) -> Any:
        raise Unavailable("no connection", code="database_busy")

    before = balance(studio)
    with monkeypatch.context() as patched:
        patched.setattr(studio.database._together, "_begin", fail)
        with pytest.raises(Unavailable):
            studio.database.together(spend)
    assert balance(studio) == before
    assert studio.database.together(spend) == "spent"


def test_a_crowd_shares_its_commits_and_every_piece_is_written_once(studio: Studio) -> None:
    before, seen = balance(studio), commits(studio)
    threads = [
        threading.Thread(target=lambda: [studio.database.together(spend) for _ in range(20)])
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert balance(studio) == before - 320
    assert len(seen) < 320
    assert not studio.database._together.pieces
    assert not studio.database._together._led
