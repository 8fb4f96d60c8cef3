"""Statements that run on every call, compiled once.

SQLAlchemy builds, caches and checks anew at each execution, which costs a short statement several times what
the database needs. Here the text, the order of its parameters and the conversion of values and columns are
worked out the first time; after that, the driver runs it directly. The text and the types are still
SQLAlchemy's, so both databases are served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from tintype_studio.storage.column_types import UtcDateTime

TIME_LENGTH = len("2026-01-01 00:00:00.000000")

Row = dict[str, Any]
_Converter = Callable[[Any], Any] | None


class Done(NamedTuple):
    """What a statement did."""

    rows: list[Row]
    """What it selected, or gives by RETURNING; by column name."""
    changed: int
    """Rows that it changed."""

    @property
    def first(self) -> Row | None:
        """The first row, if there is one."""
        return self.rows[0] if self.rows else None


class Prepared:
    """A select, update or delete with ``bindparam`` values, or an insert of named columns. Thread-safe."""

    def __init__(
        self,
        statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete,
        *,
        columns: Sequence[str] | None = None,
    ) -> None:
        self._statement = statement
        self._columns = columns
        self._plans: dict[str, _Plan] = {}

    def all(
        self, connection: sa.Connection, parameters: Mapping[str, Any], *, alone: bool = False
    ) -> list[Row]:
        """Run a select inside the connection's transaction; rows by column name.

        ``alone``: nothing else is read with this connection, so that no transaction need be begun. On
        SQLite every statement less is one less point at which threads hand the interpreter to each other.
        """
        plan = self._plan(connection)
        if not alone and not connection.in_transaction():
            connection.begin()
        return plan.run(connection, parameters).rows

    def run(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> Done:
        """Run inside the connection's transaction, which ``Database.write`` has begun."""
        return self._plan(connection).run(connection, parameters)

    def _plan(self, connection: sa.Connection) -> _Plan:
        plan = self._plans.get(connection.dialect.name)
        if plan is None:
            plan = self._plans[connection.dialect.name] = _Plan(
                self._statement, self._columns, connection.dialect
            )
        return plan


class _Plan:
    def __init__(self, statement: Any, inserted: Sequence[str] | None, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=inserted)
        self._text = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        encoders: dict[str, Callable[[Any], Any]] = {}
        for name, bind in compiled.binds.items():
            encode = _encoder(bind.type, dialect)
            if encode is not None:
                encoders[name] = encode
        order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        self._order = None if order is None else tuple((name, encoders.get(name)) for name in order)
        self._encoded = tuple(encoders.items())
        columns = statement.selected_columns if statement.is_select else statement.exported_columns
        self._names = [str(column.key) for column in columns]
        self._converters: list[_Converter] = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]
        self._driver_errors: tuple[type[Exception], ...] = (
            dialect.loaded_dbapi.OperationalError,
            dialect.loaded_dbapi.IntegrityError,
        )

    def run(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> Done:
        given = {**self._fixed, **parameters} if self._fixed else parameters
        values: Any
        if self._order is not None:
            values = [given[name] if encode is None else encode(given[name]) for name, encode in self._order]
        else:
            values = {**given, **{name: encode(given[name]) for name, encode in self._encoded}}
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._text, values)
            rows: Sequence[Any] = cursor.fetchall() if self._names else []
            count = cursor.rowcount
        except self._driver_errors as error:
            kind = type(error).__name__
            raise getattr(sa.exc, kind)(self._text, None, error) from error
        finally:
            cursor.close()
        if not rows:
            return Done([], count)
        return Done(
            [
                {
                    name: value if convert is None else convert(value)
                    for name, convert, value in zip(self._names, self._converters, row, strict=True)
                }
                for row in rows
            ],
            count,
        )


def _encoder(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """What makes the driver's value of one of ours; None when the driver takes it as it is."""
    encode: Callable[[Any], Any] | None = kind.dialect_impl(dialect).bind_processor(dialect)
    if dialect.name != "sqlite" or encode is None:
        return encode
    if isinstance(kind, sa.JSON):
        return _json_encoder(encode)
    if not isinstance(kind, UtcDateTime):
        return encode

    def as_text(value: datetime | None) -> Any:
        # The same text as SQLAlchemy's, in a sixth of the time: a paid call writes eight times.
        if value is not None and value.tzinfo is UTC:
            return value.isoformat(" ", "microseconds")[:TIME_LENGTH]
        return encode(value)

    return as_text


def _json_encoder(encode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def as_text(value: Any) -> Any:
        # SQLAlchemy's own takes five times as long; it is asked for what this one does not take.
        if type(value) is dict:
            try:
                return orjson.dumps(value).decode()
            except TypeError:
                pass
        return encode(value)

    return as_text
