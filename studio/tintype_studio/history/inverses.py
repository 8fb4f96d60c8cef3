"""How each kind of change is taken back: one function per kind, in the transaction of the undo.

Neighbouring changes of one kind in one dataset are taken back in one step. The functions lie in
``inverse_<subject>.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from tintype_studio.history.changes import Kind
from tintype_studio.history.inverse_annotations import restore_annotations, restore_classes
from tintype_studio.history.inverse_catalog import (
    delete_group,
    delete_project,
    delete_set,
    restore_group,
    restore_labels,
    restore_project,
    restore_set,
)
from tintype_studio.history.inverse_datasets import delete_dataset, restore_dataset, restore_fields
from tintype_studio.history.inverse_images import (
    delete_added,
    delete_again,
    put_columns_back,
    restore_samples,
)
from tintype_studio.history.inverse_models import archive_model, restore_model
from tintype_studio.history.inverse_samples import put_file_back, take_file_away
from tintype_studio.history.inverse_sessions import (
    delete_experiment,
    delete_session,
    restore_experiment,
    restore_session,
)
from tintype_studio.history.inverse_snapshots import delete_snapshot, restore_snapshot
from tintype_studio.history.inverse_versions import (
    bring_version_back,
    delete_version,
    restore_what_was_before,
)
from tintype_studio.history.step import Step, one_by_one

INVERSES: dict[Kind, Callable[[Step], int]] = {
    Kind.DATASET_CREATED: one_by_one(delete_dataset),
    Kind.DATASET_DELETED: one_by_one(restore_dataset),
    Kind.DATASET_RESTORED: one_by_one(delete_dataset),
    Kind.DATASET_UPDATED: one_by_one(restore_fields),
    Kind.IMAGES_ADDED: delete_added,
    Kind.IMAGES_DELETED: one_by_one(restore_samples),
    Kind.IMAGES_RESTORED: one_by_one(delete_again),
    Kind.IMAGES_MOVED: one_by_one(put_columns_back),
    Kind.IMAGES_UPDATED: one_by_one(put_columns_back),
    Kind.CLASSES_SET: one_by_one(restore_classes),
    Kind.LABELS_CHANGED: one_by_one(restore_labels),
    Kind.ANNOTATIONS_SAVED: restore_annotations,
    Kind.SET_CREATED: one_by_one(delete_set),
    Kind.SET_DELETED: one_by_one(restore_set),
    Kind.GROUP_CREATED: one_by_one(delete_group),
    Kind.GROUP_DELETED: one_by_one(restore_group),
    Kind.PROJECT_CREATED: one_by_one(delete_project),
    Kind.PROJECT_DELETED: one_by_one(restore_project),
    Kind.EXPERIMENT_CREATED: one_by_one(delete_experiment),
    Kind.EXPERIMENT_DELETED: one_by_one(restore_experiment),
    Kind.SESSION_CREATED: one_by_one(delete_session),
    Kind.SESSION_DELETED: one_by_one(restore_session),
    Kind.SNAPSHOT_CREATED: one_by_one(delete_snapshot),
    Kind.SNAPSHOT_DELETED: one_by_one(restore_snapshot),
    Kind.SAMPLES_ADDED: delete_added,
    Kind.SAMPLES_UPDATED: one_by_one(put_columns_back),
    Kind.FILES_ADDED: one_by_one(take_file_away),
    Kind.FILES_REMOVED: one_by_one(put_file_back),
    Kind.VERSION_CREATED: one_by_one(delete_version),
    Kind.VERSION_DELETED: one_by_one(bring_version_back),
    Kind.VERSION_RESTORED: one_by_one(restore_what_was_before),
    Kind.MODEL_TRAINED: one_by_one(archive_model),
    Kind.MODEL_ARCHIVED: one_by_one(restore_model),
    Kind.MODEL_RESTORED: one_by_one(archive_model),
}
"""Takes changes of a kind back and returns how many things it touched."""
