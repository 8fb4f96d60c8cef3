"""Labels: the classes of a dataset, each with a stable index, added, renamed and removed one by one.

Indices are what files and models call the classes: any whole number from 0 on, with gaps. A label that is
added without one gets the next after the highest. Renaming renames in all that is saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tintype_studio.annotations.label_patch import LabelPatch, apply_patch, uses_in_default
from tintype_studio.catalog.datasets import DatasetClass, Datasets, attributes_from_json
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name, lookup_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import dataset_classes, datasets

MAX_INDEX = 2**53 - 1
"""The largest index: what JSON carries exactly everywhere."""

MAX_LABELS = 100_000
"""Labels of a dataset."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label as it is listed."""

    row_id: int
    name: str
    index: int
    color: str | None
    """``#rrggbb``."""
    uses: int | None = None
    """Annotations of it in the default set; None where nobody counted."""


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A label to add. One that is there is left alone, unless it has another index than is asked for."""

    name: str
    index: int | None = None
    color: str | None = None


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What is to become of a label; None leaves as it is."""

    name: str
    new_name: str | None = None
    index: int | None = None
    color: str | None = None


_BY_INDEX = sa.select(
    dataset_classes.c.id, dataset_classes.c.name, dataset_classes.c.label_index, dataset_classes.c.color
).order_by(dataset_classes.c.label_index, dataset_classes.c.position)


class Labels:
    """Changes the classes of datasets one by one; each call sees only the principal's own."""

    def __init__(self, database: Database, catalog: Datasets) -> None:
        self._db = database
        self._datasets = catalog

    def list(
        self,
        principal: Principal,
        dataset_name: str,
        *,
        names: Collection[str] | None = None,
        count_uses: bool = False,
    ) -> list[Label]:
        """A dataset's labels by index, or those of some names, as far as there are any."""
        query = _BY_INDEX
        if names is not None:
            query = query.where(dataset_classes.c.name.in_([lookup_name(name) for name in names]))
        with self._db.read() as connection:
            dataset_row_id, _ = self._dataset(connection, principal, dataset_name)
            uses = uses_in_default(connection, dataset_row_id) if count_uses else {}
            rows = connection.execute(query.where(dataset_classes.c.dataset_id == dataset_row_id))
            return [
                Label(row_id, name, index, color, uses.get(name, 0) if count_uses else None)
                for row_id, name, index, color in rows
            ]

    def change(
        self,
        principal: Principal,
        dataset_name: str,
        *,
        add: Sequence[NewLabel] = (),
        update: Sequence[LabelChange] = (),
        remove: Sequence[str] = (),
        shared_index: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> int:
        """Remove, change and add labels, all or nothing; returns how many labels changed.

        All names are those before the call, and changes happen at once, so that two labels may swap names or
        indices. ``shared_index`` lets a label get an index that another one has, as between two calls that
        swap them. ``check`` is called now and then while saved annotations are renamed.

        Raises:
            NotFound: ``label_not_found``.
            Conflict: ``class_exists``, ``class_in_use``; ``index_taken``, which names the other label.
            InvalidInput: a name or index that no label can have, or a label named twice.
        """
        with self._db.write() as connection:
            dataset_row_id, uuid = self._dataset(connection, principal, dataset_name)
            # Of two at once on a server of databases, the second must see the indices that the first gave.
            connection.execute(
                sa.select(datasets.c.id).where(datasets.c.id == dataset_row_id).with_for_update()
            )
            known = {row["name"]: row for row in _rows(connection, dataset_row_id)}
            patch = _patch(known, add, update, remove)
            if not len(patch):
                return 0
            if not shared_index:
                _require_own_index(known, patch)
            if len(known) + len(patch.added) > MAX_LABELS:
                raise InvalidInput(
                    f"A dataset has at most {MAX_LABELS:,} labels.",
                    code="too_many_labels",
                    fix="Remove labels that nothing uses.",
                )
            apply_patch(connection, principal, dataset_row_id, patch, check)
            log_change(
                connection,
                principal,
                Kind.LABELS_CHANGED,
                dataset_row_id,
                subject=uuid,
                label=lookup_name(dataset_name),
                count=len(patch),
                detail=patch.as_json(),
            )
            return len(patch)

    def _dataset(self, connection: sa.Connection, principal: Principal, name: str) -> tuple[int, str]:
        """Row and UUID: programs change labels one by one, and reading all classes for each takes long."""
        row = connection.execute(
            sa.select(datasets.c.id, datasets.c.uuid).where(
                datasets.c.organization_id == principal.organization_id,
                datasets.c.deleted_at.is_(None),
                datasets.c.name == lookup_name(name),
            )
        ).first()
        if row is None:
            dataset = self._datasets.get_in(connection, principal, name)  # refuses, with names that are close
            return dataset.row_id, dataset.id
        return row.id, row.uuid


def _rows(connection: sa.Connection, dataset_row_id: int) -> Sequence[sa.RowMapping]:
    return (
        connection.execute(
            sa.select(dataset_classes)
            .where(dataset_classes.c.dataset_id == dataset_row_id)
            .order_by(dataset_classes.c.label_index, dataset_classes.c.position)
        )
        .mappings()
        .all()
    )


def _patch(
    known: dict[str, sa.RowMapping],
    add: Sequence[NewLabel],
    update: Sequence[LabelChange],
    remove: Sequence[str],
) -> LabelPatch:
    """What is to be done to reach what was asked."""
    patch = LabelPatch()
    removed = [_known(known, name)["name"] for name in remove]
    changed = [_known(known, change.name)["name"] for change in update]
    _require_once([*removed, *changed])
    for name in removed:
        row = known[name]
        cls = DatasetClass(
            name, row["type"], row["color"], attributes_from_json(row["attributes"]), row["label_index"]
        )
        patch.removed.append(cls.as_json() | {"position": row["position"]})
    for name, change in zip(changed, update, strict=True):
        _change(known[name], change, patch)
    gone = {*removed, *(old for old, _ in patch.renamed)}
    left = {name for name in known if name not in gone} | {new for _, new in patch.renamed}
    _add(known, left, add, patch)
    return patch


def _change(row: sa.RowMapping, change: LabelChange, patch: LabelPatch) -> None:
    name = row["name"]
    if change.new_name is not None and (new := clean_name(change.new_name, "Label")) != name:
        patch.renamed.append([name, new])
        name = new
    if change.index is not None and _index(change.index) != row["label_index"]:
        patch.index.append([name, row["label_index"], change.index])
    if change.color is not None and change.color != row["color"]:
        patch.color.append([name, row["color"], change.color])


def _add(known: dict[str, sa.RowMapping], left: set[str], add: Sequence[NewLabel], patch: LabelPatch) -> None:
    named = [(clean_name(new.name, "Label"), new) for new in add]
    _require_once([name for name, _ in named])
    _require_once([new for _, new in patch.renamed])
    set_to = {entry[0]: entry[2] for entry in patch.index}
    old_names = {new: old for old, new in patch.renamed}
    have = {name: set_to.get(name, known[old_names.get(name, name)]["label_index"]) for name in sorted(left)}
    fresh = []
    for name, new in named:
        if new.index is not None:
            _index(new.index)
        if name not in have:
            fresh.append((name, new))
        elif new.index not in {None, have[name]}:
            raise Conflict(
                f"The label {name!r} has the index {have[name]}, not {new.index}.",
                code="label_exists",
                fix="Change its index with update instead of adding it.",
                details={"index": have[name]},
            )
    pinned = [new.index for _, new in fresh if new.index is not None]
    free = max([*have.values(), *pinned], default=-1) + 1
    for name, new in fresh:
        index, free = (free, free + 1) if new.index is None else (new.index, free)
        if index > MAX_INDEX:
            raise InvalidInput(
                "There is no index left after the highest one.",
                code="invalid_index",
                fix="Give the new label an index.",
            )
        patch.added.append(DatasetClass(name, color=new.color, index=index).as_json())


def _require_own_index(known: dict[str, sa.RowMapping], patch: LabelPatch) -> None:
    """``Conflict`` (``index_taken``) when a label gets the index of another one."""
    gone = {each["name"] for each in patch.removed}
    new_names = dict(patch.renamed)
    after = {new_names.get(n, n): row["label_index"] for n, row in known.items() if n not in gone}
    after |= {name: index for name, _, index in patch.index}
    after |= {each["name"]: each["index"] for each in patch.added}
    holders: dict[int, list[str]] = {}
    for name, index in after.items():
        holders.setdefault(index, []).append(name)
    for name in sorted(patch.touched):
        others = [other for other in holders[after[name]] if other != name]
        if others:
            raise Conflict(
                f"The index {after[name]} of {name!r} is that of the label {others[0]!r}.",
                code="index_taken",
                fix="Choose a free index, or change the other label's in the same call; "
                "list_labels shows them.",
                details={"index": after[name], "held_by": others[0]},
            )


def _known(known: dict[str, sa.RowMapping], name: str) -> sa.RowMapping:
    row = known.get(lookup_name(name))
    if row is None:
        raise NotFound(
            f"The dataset has no label {printable(name[:120])!r}.",
            code="label_not_found",
            fix="Call list_labels to see them; names are case-sensitive.",
        )
    return row


def _index(index: int) -> int:
    if not 0 <= index <= MAX_INDEX:
        raise InvalidInput(
            f"{index} is no label index.",
            code="invalid_index",
            fix=f"Use a whole number from 0 to {MAX_INDEX}.",
        )
    return index


def _require_once(names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InvalidInput(
            f"A label is named twice: {repeated[0]!r}.",
            code="label_repeated",
            fix="Name each label once in a call.",
        )
