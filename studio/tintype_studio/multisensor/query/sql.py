"""Queries as conditions of the database, on SQLite and PostgreSQL.

Facts of a sample are columns or members of ``samples.meta``. Annotations are in documents, one JSON text
for each sample and annotation set; labels alone, in the default set, are counted in ``sample_classes``
already, so that asking for them reads no document.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from tintype_studio.multisensor.query.tree import (
    ANNOTATION_FIELDS,
    FIELDS,
    All,
    AnyOf,
    Between,
    Compare,
    Condition,
    Count,
    Known,
    Near,
    Not,
    OneOf,
    Value,
    leaves,
    moment_of,
)
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.sensor_tables import sequences
from tintype_studio.storage.tables import annotation_revisions, sample_files, samples

Expression: TypeAlias = sa.ColumnElement[Any]
Truth: TypeAlias = sa.ColumnElement[bool]

METRES_PER_DEGREE = 111_194.93
"""Along a meridian of a sphere of 6,371 km."""
_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class QueryScope:
    """Where a query is asked: of the annotations of which set (its row), and of which kind of database."""

    set_row_id: int
    is_default_set: bool
    is_sqlite: bool


def condition_of(condition: Condition, scope: QueryScope) -> Truth:
    """A condition on ``samples``; never unknown (NULL), so that its opposite is what does not meet it."""
    return _Samples(scope).condition(condition)


class _Conditions:
    """What conditions on samples and on annotations have in common."""

    def __init__(self, scope: QueryScope) -> None:
        self._scope = scope

    def condition(self, condition: Condition) -> Truth:
        match condition:
            case All():
                return sa.and_(*map(self.condition, condition.conditions))
            case AnyOf():
                return sa.or_(*map(self.condition, condition.conditions))
            case Not():
                return sa.not_(self.condition(condition.condition))
            case Compare(op="!="):
                return sa.not_(self.condition(condition.model_copy(update={"op": "="})))
            case _:
                return self._leaf(condition)

    def _leaf(self, condition: Condition) -> Truth:
        raise NotImplementedError

    def _test(self, condition: Condition, found: Expression) -> Truth:
        """A condition on a field whose value is ``found``."""
        match condition:
            case Compare():
                test = self._compared(condition.field, condition.op, condition.value, found)
            case OneOf():
                test = sa.or_(*(self._compared(condition.field, "=", v, found) for v in condition.values))
            case Between():
                test = sa.and_(
                    self._compared(condition.field, ">=", condition.low, found),
                    self._compared(condition.field, "<=", condition.high, found),
                )
            case _:
                return found.is_not(None)
        return sa.func.coalesce(test, sa.false())

    def _compared(self, field: str, op: str, value: Value, found: Expression) -> Truth:
        if FIELDS[field].type == "date":
            return self._on_time(field, op, str(value), found)
        if op == "~":
            return found.ilike(_pattern(str(value)), escape=_ESCAPE)
        if field == "distance":
            value = float(value) * abs(float(value))  # what is found is its square, too
        return _operated(found, op, value)

    def _on_time(self, field: str, op: str, value: str, found: Expression) -> Truth:
        moment, whole_day = moment_of(value)
        told = self._moment(field, moment)
        if not whole_day:
            return _operated(found, op, told)
        after = self._moment(field, moment + timedelta(days=1))
        match op:
            case "=":
                return sa.and_(found >= told, found < after)
            case "<=":
                return _operated(found, "<", after)
            case ">":
                return _operated(found, ">=", after)
        return _operated(found, op, told)

    def _moment(self, field: str, moment: Any) -> Any:
        if field != "date":
            return moment
        return sa.func.julianday(moment.isoformat()) if self._scope.is_sqlite else moment


class _Samples(_Conditions):
    def _leaf(self, condition: Condition) -> Truth:
        match condition:
            case Count():
                return self._count(condition)
            case Near():
                return self._near(condition)
            case Compare() | OneOf() | Between() | Known():
                if condition.field in ANNOTATION_FIELDS:
                    return self._count(Count(where=condition))
                if condition.field == "file":
                    test = self._test(condition, sample_files.c.type)
                    return sa.exists().where(sample_files.c.sample_id == samples.c.id, test)
                return self._test(condition, self._column(condition.field))
        raise AssertionError(condition)

    def _column(self, field: str) -> Expression:
        match field:
            case "group":
                return samples.c.split
            case "frame":
                return samples.c.frame_number
            case "created" | "updated":
                return samples.c[f"{field}_at"]
            case "sequence":
                named = sa.select(sequences.c.name).where(sequences.c.id == samples.c.sequence_id)
                return named.correlate(samples).scalar_subquery()
            case "annotations":
                return self._number_of_annotations()
            case "degradation" | "source":
                return cast("Expression", _member(field).as_string())
            case "latitude":
                return cast("Expression", _member("location", "lat").as_float())
            case "longitude":
                return cast("Expression", _member("location", "lon").as_float())
            case "date":
                text = _member("date").as_string()
                return sa.func.julianday(text) if self._scope.is_sqlite else sa.cast(text, _MOMENT)
        return samples.c[field]

    def _number_of_annotations(self) -> Expression:
        if self._scope.is_default_set:
            return samples.c.annotation_count
        newest = sa.select(annotation_revisions.c.annotation_count).where(self._is_newest())
        return sa.func.coalesce(newest.correlate(samples).scalar_subquery(), 0)

    def _near(self, near: Near) -> Truth:
        """Within a distance on a sphere, without a sine of the database: good to some parts in a thousand."""
        latitude, longitude = self._column("latitude"), self._column("longitude")
        away = sa.func.abs(longitude - near.longitude)
        east = sa.case((away > 180, 360 - away), else_=away)
        north = latitude - near.latitude
        here = math.radians(near.latitude)
        # The circles of latitude shrink towards the poles: cos(a) cos(b), b being near a.
        shrunk = math.cos(here) * (math.cos(here) - math.sin(here) * north * (math.pi / 180))
        squared = north * north + shrunk * east * east
        return sa.func.coalesce(squared <= (near.metres / METRES_PER_DEGREE) ** 2, sa.false())

    def _count(self, count: Count) -> Truth:
        if count.where is None:
            return sa.func.coalesce(
                _operated(self._number_of_annotations(), count.op, count.number), sa.false()
            )
        some: Truth
        if self._scope.is_default_set and all(
            getattr(each, "field", "") == "label" for each in leaves(count.where)
        ):
            test = _Labels(self._scope).condition(count.where)
            mine = sa.and_(sample_classes.c.sample_id == samples.c.id, test)
            number: Any = sa.select(sa.func.coalesce(sa.func.sum(sample_classes.c.count), 0)).where(mine)
            some = sa.exists(sa.select(sample_classes.c.name).where(mine))
        else:
            entries = _Entries(self._scope)
            test = entries.condition(count.where)
            rows = annotation_revisions.join(entries.table, sa.true())
            query = sa.select(sa.func.count()).select_from(rows).where(self._is_newest(), test)
            number, some = query, sa.exists(query.with_only_columns(sa.literal(1)))
        if (named := self._has_labels(count.where)) is not None:
            # Most samples lack a rare label, and their documents need not be read.
            some = sa.and_(named, some)
        if (count.op, count.number) in {(">=", 1), (">", 0)}:
            return some
        if (count.op, count.number) in {("=", 0), ("<", 1), ("<=", 0)}:
            return sa.not_(some)
        counted = number.correlate(samples).scalar_subquery()
        if named is not None:
            counted = sa.case((named, counted), else_=0)
        return _operated(counted, count.op, count.number)

    def _has_labels(self, where: Condition) -> Truth | None:
        """That the sample has a label which every annotation that fits must have; None where none is told."""
        if not self._scope.is_default_set:
            return None
        parts = where.conditions if isinstance(where, All) else [where]
        told = [p for p in parts if isinstance(p, Compare | OneOf) and p.field == "label"]
        told = [p for p in told if not isinstance(p, Compare) or p.op != "!="]
        if not told:
            return None
        of_labels = _Labels(self._scope)
        return sa.and_(
            *(
                sa.exists(
                    sa.select(sample_classes.c.name).where(
                        sample_classes.c.sample_id == samples.c.id, of_labels.condition(each)
                    )
                )
                for each in told
            )
        )

    def _is_newest(self) -> Truth:
        """That a revision is the sample's current one in the set."""
        other = annotation_revisions.alias()
        newest = sa.select(sa.func.max(other.c.id)).where(
            other.c.sample_id == samples.c.id, other.c.annotation_set_id == self._scope.set_row_id
        )
        return annotation_revisions.c.id == newest.correlate(samples).scalar_subquery()


class _Labels(_Conditions):
    """Conditions on labels alone, of ``sample_classes``."""

    def _leaf(self, condition: Condition) -> Truth:
        return self._test(condition, sample_classes.c.name)


class _Entries(_Conditions):
    """Conditions on one annotation, an entry of a document."""

    def __init__(self, scope: QueryScope) -> None:
        super().__init__(scope)
        document: Any = annotation_revisions.c.document
        if scope.is_sqlite:
            self.table = sa.func.json_each(document).table_valued("value", name="entry")
        else:
            elements = sa.func.jsonb_array_elements(sa.cast(document, JSONB))
            self.table = elements.table_valued(sa.column("value", JSONB), name="entry")

    def _leaf(self, condition: Condition) -> Truth:
        assert isinstance(condition, Compare | OneOf | Between | Known)
        return self._test(condition, self._value(condition.field))

    def _value(self, field: str) -> Expression:
        match field:
            case "label":
                return self._text("name")
            case "score":
                return sa.func.coalesce(self._number("confidence"), 1.0)
            case "area":
                return self._number("bounding_box", "w") * self._number("bounding_box", "h")
            case "box_width":
                return self._number("bounding_box", "w")
            case "box_height":
                return self._number("bounding_box", "h")
            case "distance":
                sides = [self._number("box3d", axis) for axis in "xyz"]
                return sides[0] * sides[0] + sides[1] * sides[1] + sides[2] * sides[2]
        return self._text(field)

    def _text(self, *path: str) -> Expression:
        if self._scope.is_sqlite:
            return sa.func.json_extract(self.table.c.value, f"$.{'.'.join(path)}", type_=sa.Text)
        member: Any = self.table.c.value[path]
        text: Expression = member.astext
        return text

    def _number(self, *path: str) -> Expression:
        text = self._text(*path)
        return sa.type_coerce(text, sa.Float) if self._scope.is_sqlite else sa.cast(text, sa.Float)


def _member(*path: str) -> Any:
    """Of ``samples.meta``."""
    return samples.c.meta[path if len(path) > 1 else path[0]]


_MOMENT = sa.TIMESTAMP(timezone=True)


_OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _operated(found: Expression, op: str, value: Any) -> Truth:
    test: Truth = _OPERATORS[op](found, value)
    return test


def _pattern(text: str) -> str:
    """``*`` as the database has it; what means something to it means itself."""
    parts: Sequence[str] = [
        part.replace(_ESCAPE, _ESCAPE * 2).replace("%", f"{_ESCAPE}%").replace("_", f"{_ESCAPE}_")
        for part in text.split("*")
    ]
    return "%".join(parts)
