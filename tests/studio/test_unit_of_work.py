"""Units of work: many writes, one transaction; what fails inside is undone alone, what fails is undone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio.errors import Conflict, InvalidInput, NotFound, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database, rehearsing
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import accounts, changes, datasets
from tintype_studio.studio import Studio, Workspace


class Interrupt(BaseException):
    """What is no ``Exception``: a signal, a cancelled task."""


def names(studio: Studio, owner: Principal) -> set[str]:
    return {dataset.name for dataset in studio.datasets.list(owner)}


def in_a_thread(work: Any) -> Any:
    """What another thread gets; its error, if it fails."""
    got: list[Any] = []

    def run() -> None:
        try:
            got.append(work())
        except BaseException as error:
            got.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert got, "the other thread still waits"
    return got[0]


@pytest.fixture
def other(studio: Studio, open_studio: Any) -> Studio:
    """Another process's handle on the same database."""
    return open_studio()


def test_all_writes_of_a_unit_are_seen_at_once(studio: Studio, owner: Principal, other: Studio) -> None:
    with studio.database.unit_of_work():
        studio.datasets.create(owner, name="a")
        studio.datasets.create(owner, name="b")
        assert names(studio, owner) == {"a", "b"}
        assert names(other, owner) == set()
    assert names(studio, owner) == names(other, owner) == {"a", "b"}


def test_a_unit_that_only_reads_takes_no_lock(studio: Studio, owner: Principal, other: Studio) -> None:
    with studio.database.unit_of_work():
        assert names(studio, owner) == set()
        other.datasets.create(owner, name="meanwhile")
        assert in_a_thread(lambda: studio.datasets.create(owner, name="beside").name) == "beside"
        assert names(studio, owner) == {"meanwhile", "beside"}


def test_from_its_first_write_on_a_unit_reads_what_it_wrote(studio: Studio, owner: Principal) -> None:
    with studio.database.unit_of_work(), studio.database.write() as written:
        written.execute(sa.update(datasets).values(name="x"))  # begins, and changes nothing: there is none
        studio.datasets.create(owner, name="a")
        with studio.database.read() as read:
            assert read.execute(sa.select(datasets.c.name)).scalars().all() == ["a"]


@pytest.mark.parametrize("error", [ZeroDivisionError, InvalidInput, Interrupt, GeneratorExit])
def test_an_exception_undoes_the_whole_unit(
    studio: Studio, owner: Principal, other: Studio, error: type[BaseException]
) -> None:
    def fail() -> None:
        with studio.database.unit_of_work():
            studio.datasets.create(owner, name="a")
            studio.ledger.hold(owner, call_id="c", operation="test", amount=5)
            studio.ledger.capture("c", 5)
            raise error("no")

    with pytest.raises(error):
        fail()
    assert names(studio, owner) == names(other, owner) == set()
    assert [e.amount for e in studio.ledger.history(owner)] == [1000]
    with studio.database.read() as connection:
        assert connection.execute(sa.select(changes.c.id)).all() == []
    studio.datasets.create(owner, name="a")  # and the lock is free, here and elsewhere
    other.datasets.create(owner, name="b")


def test_a_write_that_fails_inside_is_undone_alone(studio: Studio, owner: Principal) -> None:
    with studio.database.unit_of_work():
        studio.datasets.create(owner, name="a")
        with pytest.raises(Conflict):
            studio.datasets.create(owner, name="a")
        with suppress(ZeroDivisionError), studio.database.write() as connection:
            connection.execute(sa.update(datasets).values(name="spoilt"))
            raise ZeroDivisionError
        studio.datasets.create(owner, name="b")
    assert names(studio, owner) == {"a", "b"}


def test_a_write_inside_a_write_is_undone_alone_too(studio: Studio, owner: Principal) -> None:
    """Savepoints nest, and the failure of an inner one leaves the outer one as it was."""
    with studio.database.unit_of_work(), studio.database.write() as outer:
        studio.datasets.create(owner, name="a")
        outer.execute(sa.update(datasets).values(description="outer"))
        with suppress(ZeroDivisionError), studio.database.write() as inner:
            inner.execute(sa.update(datasets).values(description="inner"))
            with studio.database.write() as innermost:
                innermost.execute(sa.update(datasets).values(name="spoilt"))
            raise ZeroDivisionError
    (kept,) = studio.datasets.list(owner)
    assert (kept.name, kept.description) == ("a", "outer")


def test_a_statement_that_the_database_refuses_leaves_the_unit_usable(
    studio: Studio, owner: Principal
) -> None:
    with studio.database.unit_of_work():
        studio.datasets.create(owner, name="a")
        with pytest.raises(sa.exc.IntegrityError), studio.database.write() as connection:
            connection.execute(sa.update(datasets).values(organization_id=None))
        with pytest.raises(InvalidInput):
            studio.datasets.create(owner, name="b", description="\ud800")
        studio.datasets.create(owner, name="b")
    assert names(studio, owner) == {"a", "b"}


def test_a_first_write_that_fails_undoes_nothing_that_follows(studio: Studio, owner: Principal) -> None:
    with studio.database.unit_of_work():
        with pytest.raises(NotFound):
            studio.datasets.delete(owner, "nothing")
        studio.datasets.create(owner, name="a")
    assert names(studio, owner) == {"a"}


@pytest.mark.parametrize("rehearsal", [False, True])
def test_units_do_not_nest(studio: Studio, owner: Principal, rehearsal: bool) -> None:
    with studio.database.unit_of_work():
        studio.datasets.create(owner, name="a")
        with (
            pytest.raises(RuntimeError, match="nest"),
            studio.database.unit_of_work(rehearsal=rehearsal),
        ):
            pytest.fail("a unit inside a unit")
        assert not rehearsing()
        studio.datasets.create(owner, name="b")
    assert names(studio, owner) == {"a", "b"}


def test_one_unit_follows_another(studio: Studio, owner: Principal, other: Studio) -> None:
    for name in "abc":
        with studio.database.unit_of_work():
            studio.datasets.create(owner, name=name)
        assert name in names(other, owner)


def test_what_is_written_after_a_unit_is_not_part_of_it(studio: Studio, owner: Principal) -> None:
    with suppress(ZeroDivisionError), studio.database.unit_of_work():
        studio.datasets.create(owner, name="a")
        raise ZeroDivisionError
    studio.datasets.create(owner, name="b")
    assert names(studio, owner) == {"b"}


def test_another_threads_writes_are_no_part_of_a_unit(studio: Studio, owner: Principal) -> None:
    """They wait for it, and stay when it is undone."""
    wrote, undo = threading.Event(), threading.Event()

    def unit() -> None:
        with studio.database.unit_of_work():
            studio.datasets.create(owner, name="undone")
            wrote.set()
            undo.wait(20)
            raise ZeroDivisionError

    def beside() -> str:
        timer = threading.Timer(0.1, undo.set)
        timer.start()
        return studio.datasets.create(owner, name="kept").name

    failed: list[Any] = []
    first = threading.Thread(target=lambda: failed.append(in_a_thread(unit)))
    first.start()
    assert wrote.wait(20)
    assert names(studio, owner) == set()  # reads go on meanwhile
    assert in_a_thread(beside) == "kept"
    first.join(20)
    assert isinstance(failed[0], ZeroDivisionError)
    assert names(studio, owner) == {"kept"}


def test_units_of_many_threads_are_each_whole(studio: Studio, owner: Principal) -> None:
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for i in range(4):
                with suppress(ZeroDivisionError), studio.database.unit_of_work():
                    for part in "abc":
                        studio.datasets.create(owner, name=f"{n}-{i}-{part}")
                    if i % 2:
                        raise ZeroDivisionError
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(studio, owner) == {f"{n}-{i}-{part}" for n in range(8) for i in (0, 2) for part in "abc"}


def test_another_database_is_no_part_of_a_unit(tmp_path: Path, studio: Studio, owner: Principal) -> None:
    elsewhere = Studio(Workspace(tmp_path / "elsewhere"))
    with suppress(ZeroDivisionError), studio.database.unit_of_work():
        studio.datasets.create(owner, name="a")
        elsewhere.blobs.put(b"x")
        with elsewhere.database.write() as connection:
            connection.execute(sa.text("UPDATE organizations SET name = 'Renamed'"))
        raise ZeroDivisionError
    with elsewhere.database.read() as connection:
        assert connection.execute(sa.text("SELECT name FROM organizations")).scalar_one() == "Renamed"
    elsewhere.close()
    assert names(studio, owner) == set()


def test_a_rehearsal_sees_its_own_writes_and_leaves_none(
    studio: Studio, owner: Principal, other: Studio
) -> None:
    with studio.database.unit_of_work(rehearsal=True):
        assert rehearsing()
        studio.datasets.create(owner, name="a")
        assert names(studio, owner) == {"a"}
        assert not in_a_thread(rehearsing)
    assert not rehearsing()
    assert names(studio, owner) == names(other, owner) == set()
    studio.datasets.create(owner, name="a")
    assert names(studio, owner) == {"a"}


def test_a_rehearsal_that_fails_is_undone_and_says_why(studio: Studio, owner: Principal) -> None:
    def rehearse() -> None:
        with studio.database.unit_of_work(rehearsal=True):
            studio.datasets.create(owner, name="a")
            studio.datasets.delete(owner, "b")

    with pytest.raises(NotFound):
        rehearse()
    assert not rehearsing()
    assert names(studio, owner) == set()


def test_a_rehearsal_stores_and_removes_no_blob(studio: Studio, owner: Principal, picture: Any) -> None:
    kept = studio.blobs.put(b"kept")
    dataset = studio.datasets.create(owner, name="a")
    large = studio.home / "large"
    large.write_bytes(b"large")
    with studio.database.unit_of_work(rehearsal=True):
        sample = studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")
        studio.blobs.put(b"new")
        studio.blobs.put_derived("thumbnail", b"new")
        with large.open("rb") as file:
            digest, size = studio.blobs.put_file(file)
        studio.blobs.delete(kept)
    assert list(studio.blobs.digests()) == [kept]
    assert size == 5
    assert not studio.blobs.exists(digest)
    assert studio.blobs.get_derived("thumbnail") is None
    with pytest.raises(NotFound):
        studio.samples.get(owner, sample.id)
    assert studio.datasets.get(owner, "a").image_count == 0


def test_blobs_of_a_unit_that_is_undone_are_named_by_no_row(
    studio: Studio, owner: Principal, picture: Any
) -> None:
    """Bytes come before rows, and the next upload of the same picture takes them up."""
    dataset = studio.datasets.create(owner, name="a")
    with suppress(ZeroDivisionError), studio.database.unit_of_work():
        studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")
        raise ZeroDivisionError
    assert studio.datasets.get(owner, "a").image_count == 0
    studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")
    assert len(list(studio.blobs.digests())) == 1


@contextmanager
def broken_commit(studio: Studio) -> Iterator[None]:
    """The database does not take a transaction."""

    def fail(_connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("COMMIT", None, Exception("disk I/O error"))

    sa.event.listen(studio.database.engine, "commit", fail)
    try:
        yield
    finally:
        sa.event.remove(studio.database.engine, "commit", fail)


def test_a_commit_that_fails_is_an_error_and_leaves_nothing(
    studio: Studio, owner: Principal, other: Studio
) -> None:
    """Neither a change nor a lock, and no connection in the pool that is still inside the transaction."""
    with broken_commit(studio):
        with pytest.raises(Unavailable) as caught, studio.database.unit_of_work():
            studio.datasets.create(owner, name="a")
        assert (caught.value.code, caught.value.retryable) == ("storage_failed", True)
        assert names(studio, owner) == names(other, owner) == set()
        other.datasets.create(owner, name="b")
    studio.datasets.create(owner, name="c")
    assert names(studio, owner) == {"b", "c"}


WRITES_AND_DIES = """
import os, signal, sys
from pathlib import Path
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

home, kind = sys.argv[1:]
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

match kind:
    case "relaxed":
        studio.ledger.hold(owner, call_id="relaxed", operation="test", amount=5)
        die()
    case "unit":
        with studio.database.unit_of_work():
            studio.datasets.create(owner, name="first")
            studio.datasets.create(owner, name="second")
            die()
    case "committed":
        with studio.database.unit_of_work():
            studio.datasets.create(owner, name="first")
            studio.datasets.create(owner, name="second")
        die()
    case "rehearsal":
        with studio.database.unit_of_work(rehearsal=True):
            studio.datasets.create(owner, name="first")
            die()
"""


def test_a_write_that_need_not_last_outlives_its_process(
    studio: Studio, owner: Principal, spawn: Any
) -> None:
    child = spawn(WRITES_AND_DIES, "relaxed")
    assert child.wait(30) == -signal.SIGKILL
    assert studio.ledger.available(owner) == 995  # until somebody frees what the dead one held
    assert studio.ledger.release_dead() == 1
    assert studio.ledger.available(owner) == 1000


@pytest.mark.parametrize(
    ("kind", "left"), [("unit", set()), ("rehearsal", set()), ("committed", {"first", "second"})]
)
def test_a_unit_of_a_process_that_dies_is_there_whole_or_not_at_all(
    studio: Studio, owner: Principal, spawn: Any, kind: str, left: set[str]
) -> None:
    child = spawn(WRITES_AND_DIES, kind)
    assert child.wait(30) == -signal.SIGKILL
    assert names(studio, owner) == left
    studio.datasets.create(owner, name="after")


def test_a_unit_that_cannot_begin_is_a_retryable_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tintype_studio.storage.database.SQLITE_PRAGMAS", ("busy_timeout=50",))
    first, second = (Database(f"sqlite:///{tmp_path / 'one.db'}") for _ in range(2))
    with first.write(), pytest.raises(Unavailable) as caught, second.unit_of_work(), second.write():
        pass
    assert caught.value.code == "database_busy"
    with second.unit_of_work(), second.write() as connection:
        connection.execute(sa.text("CREATE TABLE t (a INTEGER)"))
    first.close()
    second.close()


def test_a_first_write_that_fails_is_undone_and_the_unit_goes_on(
    studio: Studio, owner: Principal, other: Studio
) -> None:
    """It has no savepoint; the whole transaction ends, and the next write begins another."""
    with studio.database.unit_of_work() as unit:
        with suppress(ZeroDivisionError), studio.database.write() as connection:
            connection.execute(sa.update(accounts).values(balance=1))
            studio.datasets.create(owner, name="spoilt")
            raise ZeroDivisionError
        assert not unit.begun
        other.datasets.create(owner, name="meanwhile")  # nobody is locked out
        assert names(studio, owner) == {"meanwhile"}
        studio.datasets.create(owner, name="b")
        with suppress(ZeroDivisionError), studio.database.write():
            studio.datasets.create(owner, name="spoilt, too")
            raise ZeroDivisionError
        assert unit.begun
    assert names(studio, owner) == names(other, owner) == {"meanwhile", "b"}
    assert studio.ledger.available(owner) == 1000


def test_a_glance_waits_for_no_writer_and_leaves_no_transaction(studio: Studio, owner: Principal) -> None:
    def look() -> list[str]:
        return [row["name"] for row in studio.database.glance(Prepared(sa.select(datasets.c.name)), {})]

    studio.datasets.create(owner, name="a")
    assert look() == ["a"]
    with studio.database.unit_of_work():
        studio.datasets.create(owner, name="b")
        assert set(look()) == {"a", "b"}
        assert in_a_thread(look) == ["a"]
    with studio.database.write():
        assert set(in_a_thread(look)) == {"a", "b"}
    assert set(look()) == {"a", "b"}
    studio.datasets.create(owner, name="c")
    assert set(look()) == {"a", "b", "c"}


def test_a_deed_in_memory_is_done_after_the_commit_and_only_then(studio: Studio, other: Studio) -> None:
    done: list[str] = []
    database = studio.database
    database.after_commit(lambda: done.append("alone"))
    with database.unit_of_work():
        database.after_commit(lambda: done.append("unit"))
        other.database.after_commit(lambda: done.append("another database"))
        assert done == ["alone", "another database"]
    with suppress(Conflict), database.unit_of_work():
        database.after_commit(lambda: done.append("failed"))
        raise Conflict("no")
    with database.unit_of_work(rehearsal=True):
        database.after_commit(lambda: done.append("rehearsed"))
    assert done == ["alone", "another database", "unit"]
