"""How versions that were made or deleted are taken back, and restores of them."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.history.changes import Kind
from tintype_studio.history.step import Step
from tintype_studio.versions.restorer import detail_of
from tintype_studio.versions.rows import bring_back, put_away, set_current


def delete_version(step: Step, row: sa.RowMapping) -> int:
    """Take a version away."""
    count = put_away(step.connection, row["subject"], step.principal.call_id)
    step.log(row, Kind.VERSION_DELETED, count=count)
    return count


def bring_version_back(step: Step, row: sa.RowMapping) -> int:
    """Bring a deleted version back."""
    count = bring_back(step.connection, row["subject"])
    step.log(row, Kind.VERSION_CREATED, count=count)
    return count


def restore_what_was_before(step: Step, row: sa.RowMapping) -> int:
    """Bring the dataset back to the state that a restore replaced."""
    done, before = step.restorer.restore_hidden(
        step.connection, step.principal, step.dataset_id, row["detail"]["before"], check=step.check
    )
    was = set_current(step.connection, step.dataset_id, row["detail"].get("current_before"))
    detail = {"before": before or row["detail"]["before"], "current_before": was, **detail_of(done)}
    step.log(row, Kind.VERSION_RESTORED, count=done.samples, detail=detail)
    return done.samples
