"""A step of an undo, and what its inverses share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.classes import admit_classes, newest_revision
from tintype_studio.annotations.options import Declared, declared_in, require_options
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.history.dependents import batches
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import annotation_revisions

if TYPE_CHECKING:
    from tintype_studio.versions.restorer import Restorer

_TAKING = frozenset({Kind.DATASET_DELETED, Kind.IMAGES_DELETED, Kind.MODEL_ARCHIVED, Kind.SESSION_DELETED})


@dataclass(frozen=True, slots=True)
class Step:
    """Changes of one kind in one dataset that are taken back together, newest first."""

    connection: sa.Connection
    principal: Principal
    """Who undoes, in which call."""
    rows: Sequence[sa.RowMapping]
    check: Callable[[], None]
    """Raises when the undo must stop; everything it did is rolled back then."""
    restorer: Restorer
    """Takes restores of versions back."""

    @property
    def kind(self) -> Kind:
        """Of all the rows."""
        return Kind(self.rows[0]["kind"])

    @property
    def dataset_id(self) -> int:
        """Row id of the dataset."""
        return int(self.rows[0]["dataset_id"])

    @property
    def call_ids(self) -> list[str]:
        """The calls that are undone, newest first."""
        return list(dict.fromkeys(row["call_id"] for row in self.rows))

    def log(
        self, row: sa.RowMapping, kind: Kind, *, count: int, detail: dict[str, object] | None = None
    ) -> None:
        """Record what the undo of ``row`` did, and whether it takes away what somebody else made."""
        detail = detail or {}
        if kind in _TAKING and row["api_key_id"] != self.principal.key_id:
            detail = {**detail, "of_others": True}
        log_change(
            self.connection,
            self.principal,
            kind,
            row["dataset_id"],
            subject=row["subject"],
            label=row["label"],
            count=count,
            detail=detail or None,
            undo_of=row["call_id"],
        )


def one_by_one(inverse: Callable[[Step, sa.RowMapping], int]) -> Callable[[Step], int]:
    """An inverse of many rows from that of one."""

    def all_of(step: Step) -> int:
        count = 0
        for row in step.rows:
            step.check()
            count += inverse(step, row)
        return count

    return all_of


def learned_detail(names: Sequence[str]) -> dict[str, object]:
    """What a change keeps of classes that came back with it."""
    return {"classes_added": sorted(names)} if names else {}


def names_on(connection: sa.Connection, sample_ids: Sequence[int]) -> list[str]:
    """Class names that the current annotations of samples carry."""
    return names_in(_documents_on(connection, sample_ids))


def _documents_on(connection: sa.Connection, sample_ids: Sequence[int]) -> Iterator[str]:
    for part in batches(sample_ids):
        newest = (
            newest_revision()
            .where(annotation_revisions.c.sample_id.in_(part))
            .group_by(annotation_revisions.c.sample_id)
            .scalar_subquery()
        )
        yield from connection.execute(
            sa.select(annotation_revisions.c.document)
            .where(annotation_revisions.c.id.in_(newest))
            .order_by(annotation_revisions.c.id)
        ).scalars()


def names_in(documents: Iterable[str]) -> list[str]:
    """Class names in the order in which they occur: that in which a dataset learns them."""
    names = (annotation["name"] for text in documents for annotation in orjson.loads(text))
    return list(dict.fromkeys(names))


def admit_returning(step: Step, names: list[str]) -> list[str]:
    """Teach the dataset the classes of annotations that come back; returns those that it had forgotten."""
    if not names:
        return []
    try:
        return admit_classes(step.connection, step.dataset_id, names)
    except InvalidInput as error:
        raise Conflict(
            f"The annotations that would come back use classes that are gone. {error.message}",
            code="class_missing",
            fix="Undo the change of the class list first; list_changes shows it.",
        ) from error


def require_options_on(connection: sa.Connection, dataset_row_id: int, sample_ids: Sequence[int]) -> None:
    """``Conflict`` (``option_missing``) when annotations of samples that come back choose what is gone."""
    declared = declared_in(connection, dataset_row_id)
    for text in _documents_on(connection, sample_ids) if declared else ():
        require_options_in(text, declared)


def require_options_in(document: str, declared: Declared) -> None:
    """``Conflict`` (``option_missing``) when a document that comes back chooses options that are gone."""
    if not declared:
        return
    annotations = orjson.loads(document)
    try:
        require_options(((each["name"], each.get("attributes", ())) for each in annotations), declared)
    except InvalidInput as error:
        raise Conflict(
            f"The annotations that would come back choose what is gone. {error.message}",
            code="option_missing",
            fix="Undo the change of the class list first; list_changes shows it.",
        ) from error
