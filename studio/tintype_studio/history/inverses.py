"""How each kind of change is taken back: one function per kind, in the transaction of the undo.

Neighbouring changes of one kind in one dataset are taken back in one step. The functions lie in
``inverse_<subject>.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from tintype_studio.history.changes import Kind
from tintype_studio.history.inverse_annotations import restore_annotations, restore_classes
from tintype_studio.history.inverse_datasets import delete_dataset, restore_dataset, restore_fields
from tintype_studio.history.inverse_images import (
    delete_added,
    delete_again,
    put_columns_back,
    restore_samples,
)
from tintype_studio.history.inverse_models import archive_model, restore_model
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
    Kind.ANNOTATIONS_SAVED: restore_annotations,
    Kind.MODEL_TRAINED: one_by_one(archive_model),
    Kind.MODEL_ARCHIVED: one_by_one(restore_model),
    Kind.MODEL_RESTORED: one_by_one(archive_model),
}
"""Takes changes of a kind back and returns how many things it touched."""
