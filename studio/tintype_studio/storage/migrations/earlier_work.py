"""Tasks and sessions of jobs, trainings and evaluations from before there were any (migration 0011)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

BATCH = 500
_TYPES = {
    "train": "trainer",
    "full_pipeline": "trainer",
    "evaluate": "validation",
    "export": "export",
    "import_files": "import",
    "import_connector": "import",
    "auto_annotate": "auto-ann",
}

_JOBS = """
SELECT j.id, j.organization_id, j.api_key_id, j.kind, j.queue, j.title, j.status, j.created_at, j.updated_at,
       j.finished_at, d.project_id
FROM jobs j LEFT JOIN datasets d ON d.id = j.dataset_id
WHERE j.id > :after ORDER BY j.id LIMIT :many
"""
_RUNS = """
SELECT r.id, r.organization_id, r.api_key_id, r.dataset_id, r.name, r.pipeline, r.gpu, r.config,
       r.class_filter, r.status_filter, r.outcome, r.created_at, r.finished_at, r.job_id, t.id AS task_id,
       COALESCE(d.project_id, (SELECT MIN(p.id) FROM projects p WHERE p.organization_id = r.organization_id))
         AS project_id,
       (SELECT MIN(s.id) FROM annotation_sets s WHERE s.dataset_id = r.dataset_id) AS set_id
FROM training_runs r LEFT JOIN tasks t ON t.job_id = r.job_id LEFT JOIN datasets d ON d.id = r.dataset_id
WHERE r.id > :after ORDER BY r.id LIMIT :many
"""
_EVALUATIONS = """
SELECT e.id, e.organization_id, e.dataset_id, e.split, e.created_at, j.title, j.api_key_id, t.id AS task_id,
       s.id AS session_id, s.experiment_id,
       COALESCE(d.project_id, x.project_id) AS project_id,
       (SELECT MIN(a.id) FROM annotation_sets a WHERE a.dataset_id = e.dataset_id) AS set_id
FROM evaluations e
JOIN jobs j ON j.call_id = e.call_id AND j.kind = 'evaluate'
JOIN tasks t ON t.job_id = j.id
JOIN models m ON m.id = e.model_id
JOIN training_sessions s ON s.run_id = m.run_id
JOIN experiments x ON x.id = s.experiment_id
LEFT JOIN datasets d ON d.id = e.dataset_id
WHERE e.id > :after ORDER BY e.id LIMIT :many
"""


def backfill(connection: sa.Connection) -> None:
    """Make their rows, in the transaction of the migration."""
    _tasks_of_jobs(connection)
    _sessions_of_runs(connection)
    _sessions_of_evaluations(connection)


def _tasks_of_jobs(connection: sa.Connection) -> None:
    for rows in _pages(connection, _JOBS):
        _insert(
            connection,
            "tasks",
            [
                {
                    "uuid": str(uuid.uuid4()),
                    "organization_id": row["organization_id"],
                    "project_id": row["project_id"],
                    "job_id": row["id"],
                    "name": row["title"],
                    "type": _TYPES.get(row["kind"], row["kind"].replace("_", "-")),
                    "status": None if row["finished_at"] is None else row["status"],
                    "manage_type": "cloud",
                    "instance_type": row["queue"],
                    "stages": [],
                    "created_by": row["api_key_id"],
                    "created_at": row["created_at"],
                    "updated_at": row["updated_at"],
                    "finished_at": row["finished_at"],
                }
                for row in rows
            ],
        )


def _sessions_of_runs(connection: sa.Connection) -> None:
    experiments: dict[int, int] = {}
    for rows in _pages(connection, _RUNS):
        sessions = []
        for row in rows:
            if row["project_id"] not in experiments:
                experiments[row["project_id"]] = _experiment(connection, row)
            sessions.append(
                {
                    "uuid": str(uuid.uuid4()),
                    "organization_id": row["organization_id"],
                    "experiment_id": experiments[row["project_id"]],
                    "task_id": row["task_id"] or _task_without_job(connection, row),
                    "run_id": row["id"],
                    "dataset_id": row["dataset_id"],
                    "annotation_set_id": row["set_id"],
                    "name": row["name"],
                    "model": row["pipeline"],
                    "params": _params(row),
                    "train_group": "train",
                    "val_group": "val",
                    "metrics": {},
                    "created_by": row["api_key_id"],
                    "created_at": row["created_at"],
                    "updated_at": row["finished_at"] or row["created_at"],
                }
            )
        _insert(connection, "training_sessions", sessions)


def _experiment(connection: sa.Connection, row: sa.RowMapping) -> int:
    one = str(uuid.uuid4())
    _insert(
        connection,
        "experiments",
        [
            {
                "uuid": one,
                "organization_id": row["organization_id"],
                "project_id": row["project_id"],
                "name": "Trainings",
                "description": "What was trained on this server.",
                "created_at": row["created_at"],
                "updated_at": row["created_at"],
            }
        ],
    )
    return _id_of(connection, "experiments", one)


def _task_without_job(connection: sa.Connection, row: sa.RowMapping) -> int:
    one = str(uuid.uuid4())
    _insert(
        connection,
        "tasks",
        [
            {
                "uuid": one,
                "organization_id": row["organization_id"],
                "project_id": row["project_id"],
                "name": row["name"],
                "type": "trainer",
                "status": row["outcome"] or "failed",
                "manage_type": "cloud",
                "instance_type": "gpu",
                "stages": [],
                "created_by": row["api_key_id"],
                "created_at": row["created_at"],
                "updated_at": row["finished_at"] or row["created_at"],
                "finished_at": row["finished_at"] or row["created_at"],
            }
        ],
    )
    return _id_of(connection, "tasks", one)


def _sessions_of_evaluations(connection: sa.Connection) -> None:
    for rows in _pages(connection, _EVALUATIONS):
        _insert(
            connection,
            "validation_sessions",
            [
                {
                    "uuid": str(uuid.uuid4()),
                    "organization_id": row["organization_id"],
                    "project_id": row["project_id"],
                    "experiment_id": row["experiment_id"],
                    "training_session_id": row["session_id"],
                    "task_id": row["task_id"],
                    "evaluation_id": row["id"],
                    "dataset_id": row["dataset_id"],
                    "annotation_set_id": row["set_id"],
                    "name": row["title"].removeprefix("Evaluate ")[:120],
                    "params": {"split": row["split"]},
                    "metrics": {},
                    "created_by": row["api_key_id"],
                    "created_at": row["created_at"],
                    "updated_at": row["created_at"],
                }
                for row in rows
            ],
        )


def _params(row: sa.RowMapping) -> dict[str, Any]:
    config = _loaded(row["config"])
    chosen = {"gpu": row["gpu"], "class_filter": _loaded(row["class_filter"])}
    chosen["status_filter"] = row["status_filter"]
    return {name: value for name, value in {**config, **chosen}.items() if value is not None}


def _loaded(value: Any) -> Any:
    """A JSON column as raw SQL gives it: text on SQLite, a value on PostgreSQL."""
    return json.loads(value) if isinstance(value, str) else value


def _pages(connection: sa.Connection, query: str) -> Iterator[list[sa.RowMapping]]:
    after = 0
    while rows := list(connection.execute(sa.text(query), {"after": after, "many": BATCH}).mappings()):
        yield rows
        after = rows[-1]["id"]


def _insert(connection: sa.Connection, name: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        table = sa.table(name, *(sa.column(each, sa.JSON if each in _AS_JSON else None) for each in rows[0]))
        connection.execute(sa.insert(table), rows)


_AS_JSON = frozenset({"stages", "params", "metrics"})
"""All other values stay as they were read, whatever the database makes of its types."""


def _id_of(connection: sa.Connection, name: str, one: str) -> int:
    table = sa.table(name, sa.column("id"), sa.column("uuid"))
    return int(connection.execute(sa.select(table.c.id).where(table.c.uuid == one)).scalar_one())
