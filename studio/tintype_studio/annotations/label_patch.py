"""What one call changes of a dataset's labels, as the history keeps it: applied, and turned around.

A patch is small, for programs change labels one by one, and an undo of one label leaves those alone that
others taught meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.renaming import documents_naming, rename_in_documents
from tintype_studio.catalog.datasets import DatasetClass, attributes_as_json
from tintype_studio.errors import Conflict
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.tables import annotation_sets, dataset_classes, datasets, samples

_NAMED = 20
"""Names that an error message lists."""


@dataclass(slots=True)
class LabelPatch:
    """Changes of labels, done in this order: removed, renamed, values set, added."""

    removed: list[dict[str, Any]] = field(default_factory=list)
    """Classes as ``DatasetClass.as_json`` gives them, each with its ``position``."""
    renamed: list[list[str]] = field(default_factory=list)
    """``[name before, name after]``."""
    index: list[list[Any]] = field(default_factory=list)
    """``[name, index before, index after]``; the name is the one after the renaming."""
    color: list[list[Any]] = field(default_factory=list)
    """``[name, colour before, colour after]``."""
    added: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        """How many labels it is about."""
        changed = {pair[1] for pair in self.renamed} | {entry[0] for entry in (*self.index, *self.color)}
        return len(self.removed) + len(self.added) + len(changed)

    @property
    def touched(self) -> set[str]:
        """Names, after the patch, of labels that it gives an index."""
        return {entry[0] for entry in self.index} | {each["name"] for each in self.added}

    def reversed(self) -> LabelPatch:
        """What takes it back. The values' names are then those before the renaming."""
        before = {after: name for name, after in self.renamed}
        return LabelPatch(
            removed=self.added,
            renamed=[[after, name] for name, after in self.renamed],
            index=[[before.get(name, name), new, old] for name, old, new in self.index],
            color=[[before.get(name, name), new, old] for name, old, new in self.color],
            added=self.removed,
        )

    def as_json(self) -> dict[str, Any]:
        """For the detail of a change; what is empty is left out."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> LabelPatch:
        """What ``as_json`` gave, or a detail that holds it."""
        return cls(**{name: found[name] for name in cls.__slots__ if name in found})


def apply_patch(
    connection: sa.Connection,
    principal: Principal,
    dataset_row_id: int,
    patch: LabelPatch,
    check: Callable[[], None],
) -> None:
    """Make the changes in the caller's transaction.

    ``Conflict``: ``class_in_use`` for what is removed and still used, ``class_exists`` where a name is taken.
    """
    mine = dataset_classes.c.dataset_id == dataset_row_id
    if patch.removed:
        gone = [each["name"] for each in patch.removed]
        require_unused(connection, dataset_row_id, gone)
        connection.execute(sa.delete(dataset_classes).where(mine, dataset_classes.c.name.in_(gone)))
    if patch.renamed:
        _require_free(connection, dataset_row_id, patch.renamed)
        # By way of names that nobody can choose, so that two may change places.
        between = {old: f"/{place}" for place, (old, _) in enumerate(patch.renamed)}
        steps = [*between.items(), *((between[old], new) for old, new in patch.renamed)]
        for old, new in steps:
            connection.execute(
                sa.update(dataset_classes).where(mine, dataset_classes.c.name == old).values(name=new)
            )
        rename_in_documents(connection, principal, dataset_row_id, dict(patch.renamed), check)
    for column, entries in (("label_index", patch.index), ("color", patch.color)):
        for name, _, value in entries:
            connection.execute(
                sa.update(dataset_classes).where(mine, dataset_classes.c.name == name).values({column: value})
            )
    if patch.added:
        _add(connection, dataset_row_id, patch.added)
    connection.execute(
        sa.update(datasets).where(datasets.c.id == dataset_row_id).values(updated_at=clock.now())
    )


def uses_in_default(connection: sa.Connection, dataset_row_id: int) -> dict[str, int]:
    """By class name, how many annotations of the default set are of it, in a dataset's living samples."""
    rows = connection.execute(
        sa.select(sample_classes.c.name, sa.func.sum(sample_classes.c.count).label("uses"))
        .join(samples, samples.c.id == sample_classes.c.sample_id)
        .where(samples.c.dataset_id == dataset_row_id, samples.c.deleted_at.is_(None))
        .group_by(sample_classes.c.name)
    )
    return {row.name: int(row.uses) for row in rows}


def require_unused(connection: sa.Connection, dataset_row_id: int, names: Iterable[str]) -> None:
    """``Conflict`` (``class_in_use``) when annotations of living samples, in a living set, are of a class."""
    wanted = set(names)
    used = wanted & uses_in_default(connection, dataset_row_id).keys()
    if not used:
        alive = (samples.c.deleted_at.is_(None), annotation_sets.c.deleted_at.is_(None))
        for row in documents_naming(connection, dataset_row_id, wanted, *alive):
            used |= wanted & {each["name"] for each in orjson.loads(row.document)}
    if used:
        listed = ", ".join(sorted(used)[:_NAMED])
        raise Conflict(
            f"Annotations still use: {listed}.",
            code="class_in_use",
            fix="Change or delete these annotations first, or give the label another name.",
            details={"classes": sorted(used)[:_NAMED]},
        )


def _require_free(connection: sa.Connection, dataset_row_id: int, renamed: list[list[str]]) -> None:
    leaving, coming = {old for old, _ in renamed}, [new for _, new in renamed]
    taken = set(
        connection.execute(
            sa.select(dataset_classes.c.name).where(
                dataset_classes.c.dataset_id == dataset_row_id, dataset_classes.c.name.in_(coming)
            )
        ).scalars()
    )
    if clash := sorted(taken - leaving):
        raise Conflict(
            f"The dataset has a label named {clash[0]!r}.",
            code="class_exists",
            fix="Choose another name; two labels cannot become one by renaming.",
        )


def _add(connection: sa.Connection, dataset_row_id: int, added: list[dict[str, Any]]) -> None:
    mine = dataset_classes.c.dataset_id == dataset_row_id
    known = connection.execute(
        sa.select(dataset_classes.c.name, dataset_classes.c.position).where(mine)
    ).all()
    names, positions = {row.name for row in known}, {row.position for row in known}
    end = max(positions, default=-1) + 1
    rows = []
    for each in added:
        if each["name"] in names:
            raise Conflict(
                f"The dataset has a label named {each['name']!r}.",
                code="class_exists",
                fix="Use the label that is there.",
            )
        position = each.get("position", end)
        if position in positions:
            position = end
        positions.add(position)
        end = max(end, position + 1)
        cls = DatasetClass.from_json(each)
        rows.append(
            {
                "dataset_id": dataset_row_id,
                "position": position,
                "name": cls.name,
                "type": cls.type,
                "color": cls.color,
                "label_index": each["index"],
                "attributes": attributes_as_json(cls.attributes),
            }
        )
    connection.execute(sa.insert(dataset_classes), rows)
