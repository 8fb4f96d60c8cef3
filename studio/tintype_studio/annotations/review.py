"""Drafts: annotations that an engine made and nobody has confirmed yet; accepting and rejecting them.

A draft carries the entry ``{"review": "draft"}`` among its ``attributes``, the one place of the annotation
format where every reader and writer leaves alone what it does not know. So drafts survive an export and an
import, and a client that saves what it read keeps them drafts. Accepting takes the entry away; the class,
the geometry, ``confidence`` and ``created_by`` stay, as the record of what the engine said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import sqlalchemy as sa

from tintype_studio.annotations.documents import (
    Documents,
    as_text,
    current_document,
    replace_document,
)
from tintype_studio.annotations.geometry import Annotation
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample, Samples
from tintype_studio.errors import NotFound
from tintype_studio.history.changes import Kind, add_to_change
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database

DRAFT = {"review": "draft"}
"""The attribute that makes an annotation a draft."""

PAGE = 500
MAX_IMAGES = 5_000
"""Images that one review of a dataset changes; the rest are left for the next."""


def is_draft(annotation: Annotation) -> bool:
    """Whether nobody has confirmed it yet."""
    return DRAFT in annotation.attributes


def as_draft(annotation: Annotation) -> Annotation:
    """The annotation as a draft."""
    if is_draft(annotation):
        return annotation
    return annotation.model_copy(update={"attributes": [*annotation.attributes, dict(DRAFT)]})


def as_accepted(annotation: Annotation) -> Annotation:
    """The annotation without the mark of a draft."""
    return annotation.model_copy(update={"attributes": [a for a in annotation.attributes if a != DRAFT]})


@dataclass(frozen=True, slots=True)
class Selection:
    """Which drafts: of these ids (None for all), of this class, with such a confidence."""

    ids: frozenset[str] | None = None
    name: str | None = None
    min_confidence: float = 0.0
    max_confidence: float = 1.0

    def takes(self, annotation: Annotation) -> bool:
        """Whether the annotation is a draft that is meant."""
        return (
            is_draft(annotation)
            and (self.ids is None or annotation.id in self.ids)
            and (self.name is None or annotation.name == self.name)
            and self.min_confidence <= annotation.confidence <= self.max_confidence
        )


@dataclass(slots=True)
class Reviewed:
    """What a review did. ``left`` counts drafts of the reviewed images or dataset that remain."""

    images: int = 0
    annotations: int = 0
    left: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    more: bool = False
    """Whether the limit of one call was met and further images hold such drafts."""


class Review:
    """Accepts and rejects drafts. What a call changes is one transaction, and one revision per image."""

    def __init__(self, database: Database, samples: Samples, documents: Documents) -> None:
        self._db = database
        self._samples = samples
        self._documents = documents

    def image(self, principal: Principal, sample_id: str, selection: Selection, *, accept: bool) -> Reviewed:
        """Review one image. ``NotFound`` for an id that is no annotation of it, or no draft."""
        done = Reviewed()
        with self._db.write() as connection:
            sample = self._samples.get_in(connection, principal, sample_id, lock=True)
            if selection.ids is not None:
                _require_drafts(current_document(connection, sample.row_id), selection.ids)
            _review(connection, principal, sample, selection, accept, done)
        return done

    def dataset(
        self,
        principal: Principal,
        dataset: Dataset,
        selection: Selection,
        *,
        accept: bool,
        check: Callable[[], None] = lambda: None,
    ) -> Reviewed:
        """Review all images of a dataset, up to ``MAX_IMAGES`` that change."""
        done, meant = Reviewed(), list[str]()
        # Found first and changed then: other writers wait only while something is written.
        after = 0
        while page := self._samples.page(dataset, limit=PAGE, after=after):
            check()
            for sample, document in self._documents.of_samples([s for s in page if s.annotation_count]):
                drafts = sum(is_draft(a) for a in document)
                if not any(selection.takes(a) for a in document):
                    done.left += drafts
                elif len(meant) < MAX_IMAGES:
                    meant.append(sample.id)
                else:
                    done.more = True
                    done.left += drafts
            after = page[-1].row_id
        if meant:
            with self._db.write() as connection:
                for sample_id in meant:
                    check()
                    with suppress(NotFound):  # deleted meanwhile
                        sample = self._samples.get_in(connection, principal, sample_id, lock=True)
                        _review(connection, principal, sample, selection, accept, done)
        return done


def _review(
    connection: sa.Connection,
    principal: Principal,
    sample: Sample,
    selection: Selection,
    accept: bool,
    done: Reviewed,
) -> None:
    """Change one locked image, and count it."""
    annotations = current_document(connection, sample.row_id)
    chosen = [a for a in annotations if selection.takes(a)]
    done.left += sum(is_draft(a) for a in annotations) - len(chosen)
    if not chosen:
        return
    ids = {a.id for a in chosen}
    if accept:
        kept = [as_accepted(a) if a.id in ids else a for a in annotations]
    else:
        kept = [a for a in annotations if a.id not in ids]
    replace_document(connection, principal, sample, as_text(kept), len(kept))
    add_to_change(connection, principal, Kind.ANNOTATIONS_SAVED, sample.dataset_row_id, 1)
    done.images += 1
    done.annotations += len(chosen)
    done.by_class.update(a.name for a in chosen)


def _require_drafts(annotations: Sequence[Annotation], ids: Collection[str]) -> None:
    drafts = {a.id for a in annotations if is_draft(a)}
    missing = sorted(set(ids) - drafts)
    if missing:
        known = {a.id for a in annotations}
        accepted = [i for i in missing if i in known]
        reason = "are accepted already" if len(accepted) == len(missing) else "are no drafts of this image"
        raise NotFound(
            f"{len(missing)} of the annotation ids {reason}, the first is {missing[0][:80]!r}.",
            code="draft_not_found",
            fix='Call get_annotations: a draft has {"review": "draft"} among its attributes.',
        )
