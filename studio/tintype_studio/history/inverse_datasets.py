"""How changes of datasets are taken back."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import names_in_use
from tintype_studio.catalog.counters import recount
from tintype_studio.catalog.datasets import put_into_bin, set_fields
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind
from tintype_studio.history.inverse_catalog import bring_project_of_dataset_back
from tintype_studio.history.step import Step, admit_returning, learned_detail
from tintype_studio.storage.tables import datasets, samples


def delete_dataset(step: Step, row: sa.RowMapping) -> int:
    """Put a dataset into the recycle bin."""
    put_into_bin(step.connection, step.dataset_id, clock.now(), step.principal.call_id)
    step.log(row, Kind.DATASET_DELETED, count=1)
    return 1


def restore_dataset(step: Step, row: sa.RowMapping) -> int:
    """Take a dataset out of the recycle bin, with what went with it."""
    connection = step.connection
    living = datasets.alias()
    taken = connection.execute(
        sa.select(datasets.c.name)
        .join(
            living,
            sa.and_(
                living.c.organization_id == datasets.c.organization_id,
                living.c.name == datasets.c.name,
                living.c.deleted_at.is_(None),
            ),
        )
        .where(datasets.c.id == step.dataset_id)
    ).scalar()
    if taken is not None:
        raise Conflict(
            f"Another dataset is named {taken!r} now.",
            code="name_taken",
            fix="Delete that dataset first, or undo the call that created it.",
        )
    bring_project_of_dataset_back(connection, step.dataset_id)
    # What went with the dataset. Not always by the call that is undone: the deletion may have been undone,
    # and that undone.
    whole = sa.select(datasets.c.deleted_call, datasets.c.deleted_at).where(datasets.c.id == step.dataset_id)
    deleted_by, deleted_at = connection.execute(whole).one()
    connection.execute(
        sa.update(samples)
        .where(
            samples.c.dataset_id == step.dataset_id,
            samples.c.deleted_call.is_not_distinct_from(deleted_by),
            samples.c.deleted_at == deleted_at,
        )
        .values(deleted_at=None)
    )
    connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == step.dataset_id)
        .values(deleted_at=None, updated_at=clock.now())
    )
    # While it lay in the bin nothing kept them, and with it come images that its call had deleted alone.
    recount(connection, step.dataset_id)
    added = admit_returning(step, sorted(names_in_use(connection, step.dataset_id)))
    step.log(row, Kind.DATASET_RESTORED, count=1, detail={"call": row["call_id"], **learned_detail(added)})
    return 1


def restore_fields(step: Step, row: sa.RowMapping) -> int:
    """Give a dataset its former name, description and annotation types."""
    before = row["detail"]["before"]
    columns = [datasets.c[key] for key in before]
    now = (
        step.connection.execute(sa.select(*columns).where(datasets.c.id == step.dataset_id)).mappings().one()
    )
    if not set_fields(step.connection, step.dataset_id, before):
        raise Conflict(
            f"Another dataset is named {before['name']!r} now.",
            code="name_taken",
            fix="Rename or delete that dataset first, or undo the call that gave it the name.",
        )
    step.log(row, Kind.DATASET_UPDATED, count=1, detail={"before": dict(now), "after": before})
    return 1
