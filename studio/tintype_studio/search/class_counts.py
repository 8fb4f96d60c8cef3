"""How often each image's current annotations name each class: the ``objects`` of the tag search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

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


def count_classes_of_many(connection: sa.Connection, documents: Mapping[int, str]) -> None:
    """The same for some hundred samples at once; documents by the row of the sample."""
    if not documents:
        return
    connection.execute(sa.delete(sample_classes).where(sample_classes.c.sample_id.in_(list(documents))))
    rows = [
        {"sample_id": row_id, "name": name, "count": count}
        for row_id, document in documents.items()
        for name, count in Counter(annotation["name"] for annotation in orjson.loads(document)).items()
    ]
    if rows:
        connection.execute(sa.insert(sample_classes), rows)
