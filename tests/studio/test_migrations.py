"""The schema: migrations and metadata agree, both directions work, a newer one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from support.schema import Copied, upgrade

from tintype_studio import clock
from tintype_studio.errors import Unavailable
from tintype_studio.storage import migrate as migrating
from tintype_studio.storage.column_types import UtcDateTime
from tintype_studio.storage.database import Database
from tintype_studio.storage.migrate import HEAD, MIGRATIONS, current_revision, migrate
from tintype_studio.storage.tables import metadata
from tintype_studio.studio import Studio, Workspace


@pytest.fixture(autouse=True)
def _nothing_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "_upgrade", upgrade)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'one.db'}")
    yield database
    database.close()


@pytest.fixture
def config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def schema(database: Database) -> dict[str, list[str]]:
    """What each object is made of; a table that was rebuilt may list its constraints in another order."""
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {row.name: sorted(part.strip(" ,") for part in row.sql.split("\n")) for row in rows}


def test_an_empty_database_is_brought_to_head(database: Database, tmp_path: Path) -> None:
    assert current_revision(database) is None
    migrate(database, tmp_path / "lock")
    assert current_revision(database) == HEAD


def test_the_head_constant_is_the_newest_script(config: Config) -> None:
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrated_schema_is_the_metadata(database: Database, tmp_path: Path) -> None:
    migrate(database, tmp_path / "lock")
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_check_constraints_and_partial_indexes_are_migrated_too(database: Database, tmp_path: Path) -> None:
    """Alembic's comparison looks at neither."""
    migrate(database, tmp_path / "lock")
    direct = Database(f"sqlite:///{tmp_path / 'direct.db'}")
    with direct.write() as connection:
        metadata.create_all(connection)
    migrated, declared = schema(database), schema(direct)
    direct.close()
    assert {n for n in migrated if "alembic" not in n} == set(declared)
    for name, sql in declared.items():
        for word in ("CHECK", "WHERE", "UNIQUE", "ON DELETE CASCADE", "NOT NULL"):
            assert migrated[name].count(word) == sql.count(word), (name, word)


def test_the_schema_that_other_tests_copy_is_the_migrated_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database, tmp_path / "lock")
    monkeypatch.setattr(migrating, "_upgrade", Copied())
    for name in ("first", "copied"):
        other = Database(f"sqlite:///{tmp_path / name}.db")
        migrate(other, tmp_path / "lock")
        assert schema(other) == schema(database)
        assert current_revision(other) == HEAD
        with other.read() as connection:
            assert sa.inspect(connection).get_table_names() == sorted([*metadata.tables, "alembic_version"])
        other.close()


def test_migrating_twice_changes_nothing(database: Database, tmp_path: Path) -> None:
    migrate(database, tmp_path / "lock")
    before = schema(database)
    migrate(database, tmp_path / "lock")
    assert schema(database) == before


def test_downgrading_to_base_removes_every_table_and_upgrading_brings_them_back(
    database: Database, tmp_path: Path, config: Config
) -> None:
    migrate(database, tmp_path / "lock")
    before = schema(database)
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(schema(database)) <= {"alembic_version", "sqlite_sequence"}
    migrate(database, tmp_path / "lock")
    assert schema(database) == before


def test_a_newer_schema_is_refused_and_left_alone(home: Path) -> None:
    studio = Studio(Workspace(home))
    with studio.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    before = schema(studio.database)
    with pytest.raises(Unavailable) as caught:
        Studio(Workspace(home))
    assert (caught.value.code, caught.value.retryable) == ("schema_too_new", False)
    assert schema(studio.database) == before
    assert current_revision(studio.database) == "9999"
    studio.close()


def test_a_failed_migration_leaves_the_database_as_it_was(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("alembic.op.batch_alter_table", fail)
    with pytest.raises(RuntimeError):
        migrate(database, tmp_path / "lock")
    assert schema(database) == {}
    monkeypatch.undo()
    migrate(database, tmp_path / "lock")
    assert current_revision(database) == HEAD


def test_money_of_running_calls_and_of_today_comes_through_the_leaner_books(
    database: Database, tmp_path: Path, config: Config
) -> None:
    def go(revision: str, verb: Any) -> None:
        with database.write() as connection:
            config.attributes["connection"] = connection
            verb(config, revision)

    go("0002", command.upgrade)
    now, before = clock.now(), clock.now() - timedelta(days=1, minutes=1)
    with database.write() as connection:
        run = connection.execute
        run(sa.text("INSERT INTO organizations VALUES (1, 'o', 'o', 'o', 'free', :t, NULL)"), {"t": str(now)})
        run(
            sa.text(
                "INSERT INTO api_keys (id, uuid, organization_id, name, prefix, hash, role, created_at)"
                " VALUES (1, 'k', 1, 'k', 'p', 'h', 'owner', :t)"
            ),
            {"t": str(now)},
        )
        run(
            sa.text(
                "INSERT INTO accounts (organization_id, balance, held, monthly_allowance, allowance_left)"
                " VALUES (1, 90, 5, 0, 0)"
            )
        )
        run(
            sa.text("INSERT INTO holds VALUES (1, 1, 1, 'c', 'i', 'o', 5, :t)"),
            {"t": str(now)},
        )
        for number, (amount, at, refund_of) in enumerate(
            [(-4, now, None), (-8, before, None), (1, now, 1), (2, now, 2)], start=1
        ):
            run(
                sa.text(
                    "INSERT INTO ledger_entries (id, uuid, organization_id, api_key_id, operation, amount,"
                    " balance_after, created_at, refund_of) VALUES (:n, 'e' || :n, 1, 1, 'x', :a, 0, :t, :r)"
                ).bindparams(sa.bindparam("t", type_=UtcDateTime)),
                {"n": number, "a": amount, "t": at, "r": refund_of},
            )
    go("0003", command.upgrade)
    with database.read() as connection:
        key = connection.execute(sa.text("SELECT spent_today FROM api_keys")).scalar_one()
        account = connection.execute(sa.text("SELECT balance, held FROM accounts")).one()
        entries = connection.execute(sa.text("SELECT count(*), sum(amount) FROM ledger_entries")).one()
    assert (key, tuple(account), tuple(entries)) == (3, (90, 0), (4, -9))
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), database.write() as connection:
        connection.execute(sa.text("DELETE FROM ledger_entries"))
    go("0002", command.downgrade)
    go("0003", command.upgrade)
