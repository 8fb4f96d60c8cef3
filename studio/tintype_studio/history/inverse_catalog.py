"""How projects, annotation sets, groups and single labels are taken back."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.label_patch import LabelPatch, apply_patch
from tintype_studio.annotations.options import declared_in
from tintype_studio.annotations.sets import bring_set_back, put_set_away
from tintype_studio.catalog.projects import require_empty
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind
from tintype_studio.history.step import (
    Step,
    admit_returning,
    learned_detail,
    names_in,
    require_options_in,
)
from tintype_studio.storage.sensor_tables import sample_groups
from tintype_studio.storage.tables import (
    annotation_revisions,
    dataset_classes,
    datasets,
    projects,
    samples,
)


def delete_project(step: Step, row: sa.RowMapping) -> int:
    """Delete a project that a call made; not while anything lies in it."""
    require_empty(step.connection, row["subject"])
    gone = step.connection.execute(
        sa.update(projects)
        .where(projects.c.uuid == row["subject"], projects.c.deleted_at.is_(None))
        .values(deleted_at=clock.now())
    ).rowcount
    step.log(row, Kind.PROJECT_DELETED, count=gone)
    return gone


def restore_project(step: Step, row: sa.RowMapping) -> int:
    """Bring a deleted project back."""
    back = bring_project_back(step.connection, projects.c.uuid == row["subject"])
    step.log(row, Kind.PROJECT_CREATED, count=back)
    return back


def bring_project_back(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    """Undelete a project, if it is deleted; ``Conflict`` (``name_taken``) when another has its name."""
    other = projects.alias()
    taken = connection.execute(
        sa.select(projects.c.name)
        .join(
            other,
            sa.and_(
                other.c.organization_id == projects.c.organization_id,
                other.c.name == projects.c.name,
                other.c.deleted_at.is_(None),
                other.c.id != projects.c.id,
            ),
        )
        .where(which, projects.c.deleted_at.is_not(None))
    ).scalar()
    if taken is not None:
        raise Conflict(
            f"Another project is named {taken!r} now.",
            code="name_taken",
            fix="Undo the call that created that project first.",
        )
    return connection.execute(
        sa.update(projects).where(which, projects.c.deleted_at.is_not(None)).values(deleted_at=None)
    ).rowcount


def bring_project_of_dataset_back(connection: sa.Connection, dataset_row_id: int) -> None:
    """A dataset that comes back from the recycle bin needs the project that it lay in."""
    mine = sa.select(datasets.c.project_id).where(datasets.c.id == dataset_row_id).scalar_subquery()
    bring_project_back(connection, projects.c.id == mine)


def delete_set(step: Step, row: sa.RowMapping) -> int:
    """Take an annotation set out of its dataset."""
    put_set_away(step.connection, row["subject"], step.principal.call_id)
    step.log(row, Kind.SET_DELETED, count=1)
    return 1


def restore_set(step: Step, row: sa.RowMapping) -> int:
    """Put an annotation set back into its dataset, and the classes that it names."""
    set_id = bring_set_back(step.connection, row["subject"])
    newest = (
        sa.select(sa.func.max(annotation_revisions.c.id))
        .join(samples, samples.c.id == annotation_revisions.c.sample_id)
        .where(
            samples.c.dataset_id == step.dataset_id,
            samples.c.deleted_at.is_(None),
            annotation_revisions.c.annotation_set_id == set_id,
        )
        .group_by(annotation_revisions.c.sample_id)
        .scalar_subquery()
    )
    names: dict[str, None] = {}
    declared = declared_in(step.connection, step.dataset_id)
    for document in step.connection.execute(
        sa.select(annotation_revisions.c.document).where(annotation_revisions.c.id.in_(newest))
    ).scalars():
        names |= dict.fromkeys(names_in([document]))
        require_options_in(document, declared)
    added = admit_returning(step, list(names))
    step.log(row, Kind.SET_CREATED, count=1, detail=learned_detail(added))
    return 1


def delete_group(step: Step, row: sa.RowMapping) -> int:
    """Forget a group; not while samples are in it."""
    connection = step.connection
    mine = (sample_groups.c.dataset_id == step.dataset_id, sample_groups.c.name == row["label"])
    used = connection.execute(
        sa.select(samples.c.filename)
        .where(
            samples.c.dataset_id == step.dataset_id,
            samples.c.deleted_at.is_(None),
            samples.c.split == row["label"],
        )
        .limit(1)
    ).scalar()
    if used is not None:
        raise Conflict(
            f"Samples are in the group {row['label']!r} now, such as {used!r}.",
            code="group_in_use",
            fix="Put them into another group first, or undo the calls that put them there.",
        )
    connection.execute(sa.delete(sample_groups).where(*mine))
    step.log(row, Kind.GROUP_DELETED, count=1)
    return 1


def restore_group(step: Step, row: sa.RowMapping) -> int:
    """Make a group known again, by the same UUID."""
    known = sa.select(sample_groups.c.id).where(
        sample_groups.c.dataset_id == step.dataset_id, sample_groups.c.name == row["label"]
    )
    if step.connection.execute(known).first() is None:
        step.connection.execute(
            sa.insert(sample_groups).values(
                uuid=row["subject"],
                dataset_id=step.dataset_id,
                name=row["label"],
                created_at=clock.now(),
            )
        )
    step.log(row, Kind.GROUP_CREATED, count=1)
    return 1


def restore_labels(step: Step, row: sa.RowMapping) -> int:
    """Give labels the names and indices that they had; those that were added go, and those removed return."""
    patch = LabelPatch.from_json(row["detail"]).reversed()
    indices = [each["index"] for each in patch.added]
    taken = step.connection.execute(
        sa.select(dataset_classes.c.name, dataset_classes.c.label_index).where(
            dataset_classes.c.dataset_id == step.dataset_id,
            dataset_classes.c.label_index.in_(indices),
            dataset_classes.c.name.not_in([each["name"] for each in patch.removed]),
        )
    ).first()
    if taken is not None:
        raise Conflict(
            f"The label {taken.name!r} has the index {taken.label_index} now.",
            code="index_taken",
            fix="Give that label another index first.",
        )
    try:
        apply_patch(step.connection, step.principal, step.dataset_id, patch, step.check)
    except Conflict as error:
        if error.code == "class_exists":
            raise Conflict(
                error.message, code="name_taken", fix="Rename or remove that label first."
            ) from error
        raise
    step.log(row, Kind.LABELS_CHANGED, count=len(patch), detail=patch.as_json())
    return len(patch)
