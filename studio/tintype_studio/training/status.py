"""Where a run stands, as a piece of SQL: its own word once it has ended, until then its job's."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.training_tables import training_runs


def run_status() -> sa.ColumnElement[str]:
    """Of queries that join ``training_runs`` with ``jobs`` from the outside: queued, running, completed,
    failed or cancelled.
    """
    # A run that did not end with its job, which is gone, will not end any more.
    return sa.func.coalesce(training_runs.c.outcome, jobs.c.status, "failed")
