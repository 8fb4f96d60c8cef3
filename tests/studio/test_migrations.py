"""The schema: migrations and metadata agree, both directions work, a newer one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tintype_studio.errors import Unavailable
from tintype_studio.storage.database import Database
from tintype_studio.storage.migrate import HEAD, MIGRATIONS, current_revision, migrate
from tintype_studio.storage.tables import metadata
from tintype_studio.studio import Studio, Workspace


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


def schema(database: Database) -> dict[str, str]:
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {row.name: row.sql for row in rows}


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
