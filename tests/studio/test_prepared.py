"""Prepared queries give what SQLAlchemy gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.column_types import UtcDateTime
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import accounts, api_keys
from tintype_studio.studio import Studio

BY_NAME = sa.select(api_keys).where(api_keys.c.name == sa.bindparam("name"), api_keys.c.is_active.is_(True))


@pytest.fixture
def key_row(studio: Studio, owner: Principal) -> None:
    from tintype_studio import clock

    studio.keys.create(
        owner,
        name="probe",
        role=Role.MEMBER,
        toolsets=["datasets"],
        credit_cap=7,
        expires_at=clock.now() + timedelta(days=1),
    )


@pytest.mark.usefixtures("key_row")
@pytest.mark.parametrize("alone", [True, False])
def test_values_and_types_are_the_same(studio: Studio, alone: bool) -> None:
    """Times, booleans, JSON, numbers and nulls."""
    prepared = Prepared(BY_NAME)
    for _ in range(2):
        with studio.database.read() as connection:
            got = prepared.all(connection, {"name": "probe"}, alone=alone)
        with studio.database.read() as connection:
            wanted = [dict(row) for row in connection.execute(BY_NAME, {"name": "probe"}).mappings()]
        assert got == wanted
        assert [type(v) for v in got[0].values()] == [type(v) for v in wanted[0].values()]


def test_no_row_is_an_empty_list(studio: Studio) -> None:
    with studio.database.read() as connection:
        assert Prepared(BY_NAME).all(connection, {"name": "nobody"}) == []


def test_it_sees_what_its_own_transaction_wrote(studio: Studio, owner: Principal) -> None:
    with studio.database.write() as connection:
        connection.execute(sa.update(api_keys).where(api_keys.c.id == owner.key_id).values(name="renamed"))
        assert len(Prepared(BY_NAME).all(connection, {"name": "renamed"})) == 1


def test_a_driver_error_is_the_same_refusal(studio: Studio) -> None:
    class Busy:
        def cursor(self) -> object:
            return self

        def execute(self, *_args: object) -> None:
            import sqlite3

            raise sqlite3.OperationalError("database is locked")

        def close(self) -> None:
            pass

    prepared = Prepared(BY_NAME)
    with studio.database.read() as connection:
        prepared.all(connection, {"name": "x"}, alone=True)
        fake = type("Fake", (), {"dialect": connection.dialect, "connection": Busy()})()
    with pytest.raises(Unavailable) as raised, studio.database.read():
        prepared.all(fake, {"name": "x"}, alone=True)
    assert raised.value.code == "database_busy"


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(987, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 7, 1, 1, tzinfo=timezone(timedelta(hours=2))),
        None,
    ],
)
def test_times_are_written_as_sqlalchemy_writes_them(studio: Studio, moment: datetime | None) -> None:
    update = sa.update(accounts).values(reset_at=sa.bindparam("at", type_=UtcDateTime))
    stored = sa.text("SELECT reset_at FROM accounts")
    with studio.database.write() as connection:
        Prepared(update).run(connection, {"at": moment})
        ours = connection.execute(stored).scalar_one()
        connection.execute(update, {"at": moment})
        assert ours == connection.execute(stored).scalar_one()
