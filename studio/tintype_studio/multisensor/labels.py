"""Class names that come with samples become labels of the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from tintype_studio.names import clean_name
from tintype_studio.storage.tables import dataset_classes


def learn_labels(
    connection: sa.Connection, dataset_row_id: int, names: Sequence[str], indices: Mapping[str, int]
) -> list[str]:
    """Add the names that the dataset lacks, whether its list is declared or not; returns those.

    A new label gets the index that ``indices`` wants where that is free, else the next one after the highest.
    """
    known = connection.execute(
        sa.select(dataset_classes.c.name, dataset_classes.c.position, dataset_classes.c.label_index).where(
            dataset_classes.c.dataset_id == dataset_row_id
        )
    ).all()
    have = {row.name for row in known}
    fresh = [clean_name(name, "Label") for name in dict.fromkeys(names) if name not in have]
    if not fresh:
        return []
    used = {row.label_index for row in known}
    wanted: dict[str, int] = {}
    for name in fresh:
        if name in indices and indices[name] not in used:
            wanted[name] = indices[name]
            used.add(indices[name])
    free = max(used, default=-1) + 1
    position = max((row.position for row in known), default=-1) + 1
    rows = []
    for name in fresh:
        index = wanted.get(name)
        if index is None:
            index, free = free, free + 1
        rows.append({"dataset_id": dataset_row_id, "position": position, "name": name, "label_index": index})
        position += 1
    connection.execute(sa.insert(dataset_classes), rows)
    return fresh
