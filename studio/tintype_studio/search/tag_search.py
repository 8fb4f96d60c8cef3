"""Images by tags: what is annotated in them, where they were taken, what their statistics say.

Within a category one of the tags must fit, and every category that is asked for must.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.search.looks import ATTRIBUTE, SCENE, analyzer
from tintype_studio.search.scope import Scope
from tintype_studio.storage.search_tables import sample_classes, search_entries, search_tags
from tintype_studio.storage.tables import dataset_classes, datasets, samples
from tintype_studio.vision.scenes import known_scene
from tintype_studio.vision.tags import ATTRIBUTES, known_attribute


@dataclass(frozen=True, slots=True)
class Wanted:
    """Tags to look for, by category; None or empty where a category does not matter."""

    objects: Sequence[str] | None = None
    scenes: Sequence[str] | None = None
    attributes: Sequence[str] | None = None

    def require_some(self) -> None:
        """Raise ``InvalidInput`` if there is no tag at all."""
        if not (self.objects or self.scenes or self.attributes):
            raise InvalidInput(
                "No tag is given.",
                code="no_tags",
                fix="Give at least one of objects, scenes and attributes; attributes are "
                f"{', '.join(ATTRIBUTES)}.",
            )


@dataclass(frozen=True, slots=True)
class ImageTags:
    """The tags of one image. ``confidence`` names those that are not certain."""

    objects: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    confidence: dict[str, float] = field(default_factory=dict)


def matching(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset | None,
    wanted: Wanted,
    scenes_by: Callable[[], str | None] = lambda: None,
) -> sa.Select[tuple[int]]:
    """A query for the row ids of the living images that fit, in upload order.

    ``scenes_by`` tells what names scenes now (`Indexer.scenes_by`); those that something else named do not
    count.
    """
    scope = Scope(
        dataset_row_id=dataset.row_id if dataset else None, organization_id=principal.organization_id
    )
    conditions = scope.conditions()
    # Subqueries that begin at the tag: it is the selective end.
    if wanted.objects:
        names = _class_names(connection, scope, wanted.objects)
        labelled = sa.select(sample_classes.c.sample_id).where(sample_classes.c.name.in_(names))
        conditions.append(samples.c.id.in_(labelled) if names else sa.false())
    if wanted.attributes:
        attributes = [known_attribute(attribute) for attribute in wanted.attributes]
        tagged = sa.select(search_tags.c.sample_id).where(
            search_tags.c.category == ATTRIBUTE, search_tags.c.name.in_(attributes)
        )
        conditions.append(samples.c.id.in_(tagged))
    if wanted.scenes:
        named_by = scenes_by()
        named = (
            sa.select(search_tags.c.sample_id)
            .join(search_entries, search_entries.c.sample_id == search_tags.c.sample_id)
            .where(
                search_tags.c.category == SCENE,
                search_tags.c.name.in_([known_scene(scene) for scene in wanted.scenes]),
                search_entries.c.analyzer == analyzer(named_by),
            )
        )
        conditions.append(samples.c.id.in_(named) if named_by is not None else sa.false())
    return (
        sa.select(samples.c.id)
        .join(datasets, datasets.c.id == samples.c.dataset_id)
        .where(*conditions)
        .order_by(samples.c.id)
    )


def tags_of(
    connection: sa.Connection,
    sample_row_ids: Sequence[int],
    scenes_by: Callable[[], str | None] = lambda: None,
) -> dict[int, ImageTags]:
    """The tags of some images, by row id; every one of them has an entry.

    ``scenes_by`` as for ``matching``; it is asked only where there are scenes. They come likeliest first.
    """
    found = {row_id: ImageTags() for row_id in sample_row_ids}
    for row in connection.execute(
        sa.select(sample_classes.c.sample_id, sample_classes.c.name)
        .where(sample_classes.c.sample_id.in_(sample_row_ids))
        .order_by(sample_classes.c.name)
    ):
        found[row.sample_id].objects.append(row.name)
    order = {name: i for i, name in enumerate(ATTRIBUTES)}
    rows = connection.execute(
        sa.select(search_tags, search_entries.c.analyzer)
        .outerjoin(search_entries, search_entries.c.sample_id == search_tags.c.sample_id)
        .where(search_tags.c.sample_id.in_(sample_row_ids))
        .order_by(search_tags.c.name)
    ).all()
    current = scenes_by() if any(row.category == SCENE for row in rows) else None
    for row in sorted(rows, key=lambda r: (order.get(r.name, len(order)), -r.confidence)):
        tags = found[row.sample_id]
        if row.category == SCENE:
            if current is None or row.analyzer != analyzer(current):
                continue
            tags.scenes.append(row.name)
        else:
            tags.attributes.append(row.name)
        if row.confidence < 1:
            tags.confidence[row.name] = round(row.confidence, 2)
    return found


def _class_names(connection: sa.Connection, scope: Scope, wanted: Sequence[str]) -> list[str]:
    """The class names that are meant, whatever their case: agents write ``car`` for ``Car``."""
    plain = {name.strip().casefold() for name in wanted}
    query = (
        sa.select(dataset_classes.c.name)
        .join(datasets, datasets.c.id == dataset_classes.c.dataset_id)
        .where(datasets.c.deleted_at.is_(None), datasets.c.organization_id == scope.organization_id)
        .distinct()
    )
    if scope.dataset_row_id is not None:
        query = query.where(datasets.c.id == scope.dataset_row_id)
    return [name for name in connection.execute(query).scalars() if name.casefold() in plain]
