"""Transactions: all or nothing, many writers, plain errors."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import datasets
from tintype_studio.studio import Studio, Workspace


def test_a_failed_write_changes_nothing(studio: Studio, owner: Principal) -> None:
    studio.datasets.create(owner, name="signs")

    def fail() -> None:
        with studio.database.write() as connection:
            connection.execute(sa.update(datasets).values(name="changed"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [d.name for d in studio.datasets.list(owner)] == ["signs"]


def test_a_reader_sees_one_state_while_a_writer_commits(studio: Studio, owner: Principal) -> None:
    count = sa.select(sa.func.count()).select_from(datasets)
    with studio.database.read() as connection:
        before = connection.execute(count).scalar_one()
        studio.datasets.create(owner, name="signs")
        assert connection.execute(count).scalar_one() == before == 0
    assert len(studio.datasets.list(owner)) == 1


def test_sixteen_threads_and_two_handles_write_at_once(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    other = open_studio()
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for i in range(5):
                (studio if n % 2 else other).datasets.create(owner, name=f"{n}-{i}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(studio.datasets.list(owner)) == 80


def test_a_naive_time_is_refused(studio: Studio, owner: Principal) -> None:
    with pytest.raises(sa.exc.StatementError, match="naive"), studio.database.write() as connection:
        connection.execute(sa.update(datasets).values(updated_at=datetime(2026, 1, 1)))


def test_times_come_back_aware(studio: Studio, owner: Principal) -> None:
    assert studio.datasets.create(owner, name="signs").created_at.tzinfo is not None


def test_a_lone_surrogate_is_an_input_error_and_writes_nothing(studio: Studio, owner: Principal) -> None:
    with pytest.raises(InvalidInput) as caught:
        studio.datasets.create(owner, name="signs", description="broken \ud800")
    assert caught.value.code == "invalid_text"
    assert studio.datasets.list(owner) == []


def test_a_locked_database_is_a_retryable_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tintype_studio.storage.database.SQLITE_PRAGMAS", ("busy_timeout=50",))
    first, second = (Database(f"sqlite:///{tmp_path / 'one.db'}") for _ in range(2))
    with first.write(), pytest.raises(Unavailable) as caught, second.write():
        pass
    assert (caught.value.code, caught.value.retryable) == ("database_busy", True)
    first.close()
    second.close()


@pytest.mark.parametrize("name", ["we?ird", "a#b", "50%41", "a b", "ключ"])
def test_everything_stays_inside_a_home_of_any_name(tmp_path: Path, name: str) -> None:
    studio = Studio(Workspace(tmp_path / name))
    digest = studio.blobs.put(b"bytes")
    studio.close()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "tintype.db").stat().st_size > 0
    again = Studio(Workspace(tmp_path / name))
    assert again.blobs.get(digest) == b"bytes"
    again.close()


FILLS_THE_DISK = """
import resource, sys
from pathlib import Path
from tintype_studio.errors import Unavailable
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

home = Path(sys.argv[1])
studio = Studio(Workspace(home))
owner = studio.keys.authenticate(saved_api_key(home))
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
created = 0
try:
    while created < 100:
        studio.datasets.create(owner, name=f"d{created}", description="x" * 100_000)
        created += 1
except Unavailable as error:
    print(created, error.code, flush=True)
"""


def test_a_full_disk_is_a_clear_error_and_keeps_what_was_acknowledged(
    studio: Studio, owner: Principal, spawn: Any
) -> None:
    """A limit on file sizes stands for the full disk: the kernel refuses the write in the same place."""
    answer, _ = spawn(FILLS_THE_DISK).communicate(timeout=30)
    created, code = answer.split()
    assert code == "storage_failed"
    assert 0 < int(created) < 100
    assert len(studio.datasets.list(owner)) == int(created)


def test_a_hundred_threads_read_at_once(studio: Studio) -> None:
    barrier, failures = threading.Barrier(100), []

    def read() -> None:
        try:
            with studio.database.read() as connection:
                barrier.wait(timeout=20)
                connection.execute(sa.select(datasets.c.id)).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_more_readers_than_connections_is_a_retryable_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"POOL_SIZE": 1, "OVERFLOW_SQLITE": 1, "BUSY_SECONDS": 0.05}.items():
        monkeypatch.setattr(f"tintype_studio.storage.database.{name}", value)
    database = Database(f"sqlite:///{tmp_path / 'one.db'}")
    with database.read(), database.read(), pytest.raises(Unavailable) as caught, database.read():
        pass
    assert (caught.value.code, caught.value.retryable) == ("database_busy", True)
    with database.read():
        pass
    database.close()
