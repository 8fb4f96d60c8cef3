"""A query that runs on every call, compiled once.

SQLAlchemy builds, caches and checks anew at each execution, which costs a short lookup several times what
the database needs. Here the statement, the order of its parameters and the conversion of its columns are
worked out the first time; after that, the driver runs it directly. The text and the types are still
SQLAlchemy's, so both databases are served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

Row = dict[str, Any]
_Converter = Callable[[Any], Any] | None


class Prepared:
    """A select with ``bindparam`` values of plain types. Thread-safe."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self._statement = statement
        self._plans: dict[str, _Plan] = {}

    def all(self, connection: sa.Connection, parameters: dict[str, Any], *, alone: bool = False) -> list[Row]:
        """Run inside the connection's transaction; rows by column name.

        ``alone``: nothing else is read with this connection, so that no transaction need be begun. On
        SQLite every statement less is one less point at which threads hand the interpreter to each other.
        """
        plan = self._plans.get(connection.dialect.name)
        if plan is None:
            plan = self._plans[connection.dialect.name] = _Plan(self._statement, connection.dialect)
        if not alone and not connection.in_transaction():
            connection.begin()
        return plan.run(connection, parameters)


class _Plan:
    def __init__(self, statement: sa.Select[Any], dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._text = str(compiled)
        self._fixed = dict(compiled.params)
        self._order = getattr(compiled, "positiontup", None)
        columns = statement.selected_columns
        self._names = [str(column.key) for column in columns]
        self._converters: list[_Converter] = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]
        self._driver_error: type[Exception] = dialect.loaded_dbapi.OperationalError

    def run(self, connection: sa.Connection, parameters: dict[str, Any]) -> list[Row]:
        values = self._fixed | parameters
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._text, values if self._order is None else [values[n] for n in self._order])
            rows = cursor.fetchall()
        except self._driver_error as error:
            raise sa.exc.OperationalError(self._text, None, error) from error
        finally:
            cursor.close()
        return [
            {
                name: value if convert is None else convert(value)
                for name, convert, value in zip(self._names, self._converters, row, strict=True)
            }
            for row in rows
        ]
