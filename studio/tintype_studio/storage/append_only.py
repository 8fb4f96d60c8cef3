"""Tables whose rows are never changed or removed: the database itself refuses it.

The ledger and the audit trail are worth only what their rows are worth, so not even a defect of ours may
rewrite one. The migration and ``metadata.create_all`` put the same triggers in place.
"""

from __future__ import annotations

import sqlalchemy as sa

APPEND_ONLY = ("ledger_entries", "calls")

_REFUSE = "refuse_change"
_VERBS = ("update", "delete")


def guards(dialect: str, table: str) -> list[str]:
    """Statements that make a table append-only."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for verb in _VERBS
        ]
    return [
        f"CREATE OR REPLACE FUNCTION {_REFUSE}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
        *(
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {_REFUSE}()"
            for verb in _VERBS
        ),
    ]


def unguards(dialect: str, table: str) -> list[str]:
    """Statements that lift it again."""
    on = "" if dialect == "sqlite" else f" ON {table}"
    return [f"DROP TRIGGER {table}_no_{verb}{on}" for verb in _VERBS]


def guard_on_create(table: sa.Table) -> None:
    """Have ``metadata.create_all`` guard a table, too."""

    def guard(target: sa.Table, connection: sa.Connection, **_: object) -> None:
        for statement in guards(connection.dialect.name, target.name):
            connection.exec_driver_sql(statement)

    sa.event.listen(table, "after_create", guard)
