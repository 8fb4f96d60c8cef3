"""What an export must hold to be trained on: one check, asked on counts before a job starts and on the
content when it has.
"""

from __future__ import annotations

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train.pipelines import MIN_IMAGES

FORMAT = "pictograph"
MASK_TASKS = (Task.INSTANCES, Task.SEMANTIC)


_MORE = {
    False: "Label more images with save_annotations or auto_annotate_dataset, and train again.",
    True: "Label more images; or, where folders tell the classes, declare those with set_dataset_classes.",
}


def check_export(
    task: Task,
    *,
    images: int,
    format: str = FORMAT,
    with_images: bool = True,
    annotations: int | None = None,
    polygons: int | None = None,
) -> None:
    """Refuse what cannot be trained on; a count that is not known yet is None.

    ``images`` are those that can be learned from, ``annotations`` those of the wanted classes and of any
    kind that the task can use, ``polygons`` those among them with an outline. Classification can do without
    annotations where folders name the classes, so it is asked with None before the folders are known.

    Raises ``InvalidInput``: ``wrong_export``, ``too_few_images`` or ``no_annotations``.
    """
    if format != FORMAT:
        raise _wrong(f"The export has the format {format}.")
    if not with_images:
        raise _wrong("The export was made without its images.")
    if images < MIN_IMAGES:
        raise InvalidInput(
            f"Training needs at least {MIN_IMAGES} labelled images; there are {images}.",
            code="too_few_images",
            fix=_MORE[task is Task.CLASSIFICATION],
            details={"images": images, "needed": MIN_IMAGES},
        )
    if annotations == 0:
        raise InvalidInput(
            "The export has no annotation to learn from.",
            code="no_annotations",
            fix="Annotate the images, or widen the class filter, then export again.",
        )
    if polygons == 0 and task in MASK_TASKS:
        raise no_polygon(task)


def no_polygon(task: Task, fix: str | None = None) -> InvalidInput:
    """The error (``wrong_export``) for a task of masks without an outline to learn from."""
    return _wrong(
        f"There is no polygon among the annotations, which {task.value.replace('_', ' ')} learns from.",
        fix=fix or "Turn the boxes into polygons (auto_annotate_box), or train yolox or rfdetr_detection.",
    )


def _wrong(message: str, fix: str | None = None) -> InvalidInput:
    return InvalidInput(
        message,
        code="wrong_export",
        fix=fix or "Create an export of the format pictograph with include_images=true.",
    )
