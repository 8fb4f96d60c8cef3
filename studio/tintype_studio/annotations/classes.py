"""Which class names a dataset's annotations may use.

A new dataset learns class names from the first saves. Once its classes are declared, unknown names are
refused.
"""

from __future__ import annotations

import difflib
import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.options import Mark, cleaned_attributes, declared_by, in_use, marks_of, unkept
from tintype_studio.catalog.datasets import (
    DEFAULT_SET,
    Dataset,
    DatasetClass,
    Datasets,
    attributes_as_json,
)
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import (
    annotation_revisions,
    annotation_sets,
    dataset_classes,
    datasets,
    samples,
)

_LISTED = 20
"""Names that an error message lists; it says how many more there are."""

_NAME_SHOWN = 80
"""Characters of a name that an error message shows."""

_HINTED = 5
"""Unknown names for which an error looks for a known one that was meant."""

_END = 20
"""Characters at each end of a name by which it is like another at first sight."""


class Classes:
    """Declares the classes of a dataset."""

    def __init__(self, database: Database, catalog: Datasets) -> None:
        self._db = database
        self._datasets = catalog

    def declare(
        self,
        principal: Principal,
        name: str,
        classes: list[DatasetClass],
        *,
        keep_attributes: Collection[str] = (),
    ) -> Dataset:
        """Replace the class list. From then on, annotations may use only these names; with an empty list,
        the dataset learns names from what is saved, as a new one does.

        A class or an option that annotations still use cannot be left out: ``Conflict`` (``class_in_use``,
        ``option_in_use``) names it. Those named in ``keep_attributes`` keep the attributes that they have.
        """
        cleaned = [
            DatasetClass(
                clean_name(c.name, "Class name"),
                c.type,
                c.color,
                cleaned_attributes(c.name, c.attributes),
                c.index,
            )
            for c in classes
        ]
        names = [c.name for c in cleaned]
        if repeated := _repeated(names):
            raise InvalidInput(
                f"A class name occurs twice in the list: {_listed(repeated, quoted=True)}.",
                fix="Send each class name once.",
            )
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, name)
            missing = names_in_use(connection, dataset.row_id) - set(names)
            if missing:
                raise Conflict(
                    f"Annotations still use: {_listed(sorted(missing))}.",
                    code="class_in_use",
                    fix="Keep these classes in the list, or change the annotations first.",
                )
            if keep_attributes:
                kept = {c.name: c.attributes for c in dataset.classes if c.name in keep_attributes}
                cleaned = [replace(c, attributes=kept.get(c.name, c.attributes)) for c in cleaned]
            require_options_kept(
                connection,
                dataset.row_id,
                dataset.classes,
                cleaned,
                fix="Keep these options in the list, or change the annotations first.",
            )
            replace_classes(connection, dataset.row_id, cleaned, declared=bool(cleaned))
            log_change(
                connection,
                principal,
                Kind.CLASSES_SET,
                dataset.row_id,
                subject=dataset.id,
                label=dataset.name,
                count=len(cleaned),
                detail={
                    "before": class_state(dataset.classes, declared=dataset.classes_declared),
                    "after": class_state(cleaned, declared=bool(cleaned)),
                },
            )
            return self._datasets.get_in(connection, principal, name)

    def listed(self, dataset_row_id: int) -> list[DatasetClass]:
        """A dataset's classes in their order."""
        with self._db.read() as connection:
            return _classes_in(connection, dataset_row_id)

    def colors(self, dataset_row_id: int) -> dict[str, str]:
        """Drawing colours (``#rrggbb``) of the classes that have one."""
        with self._db.read() as connection:
            rows = connection.execute(
                sa.select(dataset_classes.c.name, dataset_classes.c.color).where(
                    dataset_classes.c.dataset_id == dataset_row_id, dataset_classes.c.color.is_not(None)
                )
            )
            return {row.name: row.color for row in rows}


def class_state(classes: Sequence[DatasetClass], *, declared: bool) -> dict[str, Any]:
    """A class list as the history keeps it."""
    return {"declared": declared, "classes": [c.as_json() for c in classes]}


def class_state_of(connection: sa.Connection, dataset_row_id: int) -> dict[str, Any]:
    """A dataset's class list as it stands in the caller's transaction, as the history keeps it."""
    declared = sa.select(datasets.c.classes_declared).where(datasets.c.id == dataset_row_id)
    classes = _classes_in(connection, dataset_row_id)
    return class_state(classes, declared=connection.execute(declared).scalar_one())


def _classes_in(connection: sa.Connection, dataset_row_id: int) -> list[DatasetClass]:
    rows = connection.execute(
        sa.select(
            dataset_classes.c.name,
            dataset_classes.c.type,
            dataset_classes.c.color,
            dataset_classes.c.attributes,
            dataset_classes.c.label_index,
        )
        .where(dataset_classes.c.dataset_id == dataset_row_id)
        .order_by(dataset_classes.c.position)
    ).mappings()
    return [DatasetClass.from_json(dict(row)) for row in rows]


def replace_classes(
    connection: sa.Connection, dataset_row_id: int, classes: list[DatasetClass], *, declared: bool
) -> None:
    """Replace a dataset's class list. A class that stays keeps its row, and its index unless one is given."""
    mine = dataset_classes.c.dataset_id == dataset_row_id
    known = set(connection.execute(sa.select(dataset_classes.c.name).where(mine)).scalars())
    wanted = {c.name for c in classes}
    if gone := known - wanted:
        connection.execute(sa.delete(dataset_classes).where(mine, dataset_classes.c.name.in_(gone)))
    for position, cls in enumerate(classes):
        if cls.name in known:
            values = _columns(cls, position)
            connection.execute(
                sa.update(dataset_classes).where(mine, dataset_classes.c.name == cls.name).values(**values)
            )
    fresh = [(position, cls) for position, cls in enumerate(classes) if cls.name not in known]
    _insert(connection, dataset_row_id, fresh)
    connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == dataset_row_id)
        .values(classes_declared=declared, updated_at=clock.now())
    )


def newest_revision(set_row_id: int | None = None) -> sa.Select[Any]:
    """Ids of the current revisions in an annotation set, or else in the default ones; narrow it by sample."""
    newest = sa.select(sa.func.max(annotation_revisions.c.id).label("id"))
    if set_row_id is not None:
        return newest.where(annotation_revisions.c.annotation_set_id == set_row_id)
    return newest.join(
        annotation_sets, annotation_sets.c.id == annotation_revisions.c.annotation_set_id
    ).where(annotation_sets.c.name == DEFAULT_SET)


def admit_classes(connection: sa.Connection, dataset_row_id: int, names: list[str]) -> list[str]:
    """Check the names against the dataset, or teach them to it; returns those that were added."""
    known = list(
        connection.execute(
            sa.select(dataset_classes.c.name)
            .where(dataset_classes.c.dataset_id == dataset_row_id)
            .order_by(dataset_classes.c.position)
        ).scalars()
    )
    seen = set(known)
    unknown = [n for n in dict.fromkeys(names) if n not in seen]
    if not unknown:
        return []
    declared = connection.execute(
        sa.select(datasets.c.classes_declared).where(datasets.c.id == dataset_row_id)
    ).scalar_one()
    if declared:
        raise _unknown_classes(unknown, known)
    fresh = [DatasetClass(clean_name(n, "Class name")) for n in unknown]
    last = connection.execute(
        sa.select(sa.func.max(dataset_classes.c.position)).where(
            dataset_classes.c.dataset_id == dataset_row_id
        )
    ).scalar()
    _append(connection, dataset_row_id, fresh, first_position=0 if last is None else last + 1)
    return unknown


def require_known(dataset: Dataset, names: Sequence[str]) -> None:
    """Raise InvalidInput (``unknown_class``) where ``admit_classes`` would; changes nothing."""
    known = [c.name for c in dataset.classes]
    unknown = [n for n in dict.fromkeys(names) if n not in set(known)]
    if unknown and dataset.classes_declared:
        raise _unknown_classes(unknown, known)


def _unknown_classes(unknown: list[str], known: list[str]) -> InvalidInput:
    """The error for names not declared; quick to make, for it happens under the write lock."""
    close = _close_names(unknown[:_HINTED], known)
    hint = f"Did you mean {', '.join(_shown(n) for n in close)}? " if close else ""
    return InvalidInput(
        f"Not classes of this dataset: {_listed(unknown, quoted=True)}.",
        code="unknown_class",
        fix=f"{hint}Use one of: {_listed(known)}; or add the class with set_dataset_classes.",
    )


def _close_names(names: list[str], known: list[str]) -> list[str]:
    """Known names that look like one of ``names``, sorted.

    difflib compares too slowly to see all pairs; it judges only the few that share the most letters and
    pairs of letters with a name.
    """
    parts = [(candidate, _parts(candidate)) for candidate in known]
    close: set[str] = set()
    for name in names:
        own = _parts(name)

        def shared(entry: tuple[str, set[str]], own: set[str] = own) -> float:
            return len(own & entry[1]) / (len(own) + len(entry[1]))

        likely = [candidate for candidate, _ in heapq.nlargest(3, parts, key=shared)]
        close.update(difflib.get_close_matches(name, likely, n=2))
    return sorted(close)


def _parts(name: str) -> set[str]:
    """Letters and pairs of letters in both ends of a name."""
    ends = name if len(name) <= 2 * _END else name[:_END] + name[-_END:]
    return {*ends, *map(str.__add__, ends, ends[1:])}


def _repeated(names: list[str]) -> list[str]:
    """The names that occur more than once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def _shown(name: str) -> str:
    return name if len(name) <= _NAME_SHOWN else name[: _NAME_SHOWN - 1] + "…"


def _listed(names: list[str], *, quoted: bool = False) -> str:
    """``names`` as a list of bounded length."""
    shown = [repr(_shown(n)) if quoted else _shown(n) for n in names[:_LISTED]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def forget_unused_classes(connection: sa.Connection, dataset_row_id: int, names: set[str]) -> None:
    """Take names out of a learned class list that no annotation uses any more."""
    if not names:
        return
    declared = connection.execute(
        sa.select(datasets.c.classes_declared).where(datasets.c.id == dataset_row_id)
    ).scalar_one()
    unused = set() if declared else names - names_in_use(connection, dataset_row_id)
    if unused:
        connection.execute(
            sa.delete(dataset_classes).where(
                dataset_classes.c.dataset_id == dataset_row_id, dataset_classes.c.name.in_(unused)
            )
        )


def names_in_use(connection: sa.Connection, dataset_row_id: int) -> set[str]:
    """Class names that current annotations of a dataset's living samples carry."""
    return {annotation["name"] for annotation in _in_use(connection, dataset_row_id)}


def require_options_kept(
    connection: sa.Connection,
    dataset_row_id: int,
    before: Sequence[DatasetClass],
    after: Sequence[DatasetClass],
    *,
    fix: str,
) -> None:
    """``Conflict`` (``option_in_use``) when annotations hold ``options_in_the_way``."""
    if error := in_use(options_in_the_way(connection, dataset_row_id, before, after), fix=fix):
        raise error


def options_in_the_way(
    connection: sa.Connection,
    dataset_row_id: int,
    before: Sequence[DatasetClass],
    after: Sequence[DatasetClass],
) -> list[Mark]:
    """What current annotations of a dataset's living samples choose and ``after`` has no more, or what else
    they hold under the name of an attribute that is new.
    """
    was, will_be = declared_by(before), declared_by(after)
    if was == will_be:
        return []
    names = {attribute for own in (*was.values(), *will_be.values()) for attribute in own}
    return list(unkept(marks_of(_in_use(connection, dataset_row_id), names), was, will_be))


def _in_use(connection: sa.Connection, dataset_row_id: int) -> Iterator[dict[str, Any]]:
    """Current annotations of a dataset's living samples, as they are kept."""
    newest = (
        sa.select(sa.func.max(annotation_revisions.c.id))
        .join(samples, samples.c.id == annotation_revisions.c.sample_id)
        .join(annotation_sets, annotation_sets.c.id == annotation_revisions.c.annotation_set_id)
        .where(
            samples.c.dataset_id == dataset_row_id,
            samples.c.deleted_at.is_(None),
            annotation_sets.c.deleted_at.is_(None),
        )
        .group_by(annotation_revisions.c.sample_id, annotation_revisions.c.annotation_set_id)
        .scalar_subquery()
    )
    rows = connection.execute(
        sa.select(annotation_revisions.c.document).where(annotation_revisions.c.id.in_(newest))
    )
    for row in rows:
        yield from orjson.loads(row.document)


def _append(
    connection: sa.Connection, dataset_row_id: int, classes: list[DatasetClass], *, first_position: int
) -> None:
    _insert(connection, dataset_row_id, list(enumerate(classes, first_position)))


def _insert(
    connection: sa.Connection, dataset_row_id: int, classes: Sequence[tuple[int, DatasetClass]]
) -> None:
    """New classes at their positions; those without an index get the next ones after the highest."""
    if not classes:
        return
    highest = connection.execute(
        sa.select(sa.func.max(dataset_classes.c.label_index)).where(
            dataset_classes.c.dataset_id == dataset_row_id
        )
    ).scalar()
    free = (
        max([-1 if highest is None else highest, *(c.index for _, c in classes if c.index is not None)]) + 1
    )
    rows = []
    for position, cls in classes:
        index, free = (free, free + 1) if cls.index is None else (cls.index, free)
        row = _columns(cls, position) | {"label_index": index}
        rows.append(row | {"dataset_id": dataset_row_id, "name": cls.name})
    connection.execute(sa.insert(dataset_classes), rows)


def _columns(cls: DatasetClass, position: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        "position": position,
        "type": cls.type,
        "color": cls.color,
        "attributes": attributes_as_json(cls.attributes),
    }
    return values if cls.index is None else values | {"label_index": cls.index}
