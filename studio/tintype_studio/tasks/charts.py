"""Charts of tasks: JSON that says what is to be drawn, under a group and a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.experiments.parameters import checked_value
from tintype_studio.names import clean_text, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.session_tables import task_charts
from tintype_studio.tasks.task import Task

MAX_NAME = 120
MAX_CHARTS = 1000
"""Of one task."""
MAX_BYTES = 4 * 1024**2
"""Of one chart's data, as JSON."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart; ``params`` say how to draw it."""

    group: str
    name: str
    data: Any
    params: Any


class Charts:
    """Charts of tasks that the caller has looked up for its principal."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def names(self, task: Task, group: str | None = None) -> dict[str, list[str]]:
        """Names of charts by group, in order; only those of ``group`` if it is given."""
        query = sa.select(task_charts.c.group_name, task_charts.c.name).where(
            task_charts.c.task_id == task.row_id
        )
        if group:
            query = query.where(task_charts.c.group_name == group)
        found: dict[str, list[str]] = {}
        with self._db.read() as connection:
            for row in connection.execute(query.order_by(task_charts.c.group_name, task_charts.c.name)):
                found.setdefault(row.group_name, []).append(row.name)
        return found

    def get(self, task: Task, group: str, name: str) -> Chart:
        """A chart; ``NotFound`` (``chart_not_found``)."""
        query = sa.select(task_charts.c.data, task_charts.c.params).where(
            task_charts.c.task_id == task.row_id,
            task_charts.c.group_name == group,
            task_charts.c.name == name,
        )
        with self._db.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(
                f"The task has no chart {printable(name[:80])!r} in {printable(group[:80])!r}.",
                code="chart_not_found",
                fix="get_task lists the charts of a task.",
            )
        return Chart(group, name, row.data, row.params)

    def put(self, task: Task, *, group: str, name: str, data: Any, params: Any = None) -> Chart:
        """Keep a chart; one of this name in this group is replaced."""
        group, name = _named(group, "group"), _named(name, "chart")
        checked_value(data, "data", max_bytes=MAX_BYTES)
        if params is not None:
            checked_value(params, "params")
        upsert = self._db.upsert(
            task_charts,
            keys=(task_charts.c.task_id, task_charts.c.group_name, task_charts.c.name),
            values=("params", "data", "created_at"),
        )
        count = sa.select(sa.func.count()).where(task_charts.c.task_id == task.row_id)
        with self._db.write() as connection:
            connection.execute(
                upsert,
                {
                    "task_id": task.row_id,
                    "group_name": group,
                    "name": name,
                    "params": params,
                    "data": data,
                    "created_at": clock.now(),
                },
            )
            if connection.execute(count).scalar_one() > MAX_CHARTS:
                raise Conflict(
                    f"A task has at most {MAX_CHARTS} charts.",
                    code="too_many_charts",
                    fix="Replace charts that are there, or put several curves into one.",
                )
        return Chart(group, name, data, params)


def _named(text: str, what: str) -> str:
    wanted = clean_text(text, f"The {what}'s name", max_length=MAX_NAME)
    if not wanted:
        raise InvalidInput(
            f"The {what}'s name is empty.", code="invalid_name", fix=f"Give the {what} a name."
        )
    return wanted
