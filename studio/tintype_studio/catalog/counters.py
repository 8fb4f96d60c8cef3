"""A dataset's counters, counted anew."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.samples import IMAGE, Status
from tintype_studio.storage.tables import datasets, sample_files, samples


def recount(connection: sa.Connection, dataset_row_id: int) -> None:
    """Make a dataset's counters those of its living samples, in the transaction that changed many of them.

    Images are samples with a picture; annotations and bytes are counted of all.
    """
    mine = sa.and_(samples.c.dataset_id == dataset_row_id, samples.c.deleted_at.is_(None))
    pictures = sa.and_(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE)

    def one(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.coalesce(sa.func.sum(value), 0)

    done = sa.case((samples.c.status == Status.COMPLETE.value, 1), else_=0)
    seen = connection.execute(
        sa.select(sa.func.count().label("images"), one(done).label("completed"))
        .select_from(samples.join(sample_files, pictures))
        .where(mine)
    ).one()
    connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == dataset_row_id)
        .values(
            reordered=datasets.c.reordered + 1,
            image_count=seen.images,
            completed_image_count=seen.completed,
            annotation_count=sa.select(one(samples.c.annotation_count)).where(mine).scalar_subquery(),
            total_size=sa.select(one(sample_files.c.size))
            .select_from(samples.join(sample_files, sample_files.c.sample_id == samples.c.id))
            .where(mine)
            .scalar_subquery(),
            updated_at=clock.now(),
        )
    )
