"""How often each image's current annotations name each class: the ``objects`` of the tag search."""

from __future__ import annotations

from collections import Counter

import orjson
import sqlalchemy as sa

from tintype_studio.storage.search_tables import sample_classes


def count_classes(connection: sa.Connection, sample_row_id: int, document: str) -> None:
    """Make the counts those of ``document`` (JSON), in the transaction that makes it the newest one."""
    counted = Counter(annotation["name"] for annotation in orjson.loads(document))
    mine = sample_classes.c.sample_id == sample_row_id
    rows = connection.execute(sa.select(sample_classes.c.name, sample_classes.c.count).where(mine)).all()
    # Most saves move or add a box of a known class; what stays the same is not written again.
    if {name: count for name, count in rows} == counted:
        return
    if rows:
        connection.execute(sa.delete(sample_classes).where(mine))
    if counted:
        connection.execute(
            sa.insert(sample_classes),
            [{"sample_id": sample_row_id, "name": name, "count": count} for name, count in counted.items()],
        )
