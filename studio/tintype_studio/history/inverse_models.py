"""How a model's training, its archiving and its return are taken back."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.history.changes import Kind
from tintype_studio.history.step import Step
from tintype_studio.training.models import set_archived, set_restored


def archive_model(step: Step, row: sa.RowMapping) -> int:
    """Put a model into the recycle bin."""
    count = int(set_archived(step.connection, row["subject"], step.principal.call_id))
    step.log(row, Kind.MODEL_ARCHIVED, count=count)
    return count


def restore_model(step: Step, row: sa.RowMapping) -> int:
    """Take a model out of the recycle bin."""
    count = int(set_restored(step.connection, row["subject"]))
    step.log(row, Kind.MODEL_RESTORED, count=count)
    return count
