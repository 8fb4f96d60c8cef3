"""Arguments and results of the tools that work on many images of a dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.picking import MAX_IMAGES, Batched
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Result


class ManyImages(Args):
    """Images of one dataset."""

    dataset_name: DatasetName
    image_ids: Annotated[
        list[Annotated[str, Field(max_length=200)]],
        Field(min_length=1, max_length=MAX_IMAGES, description="UUIDs of images of this dataset."),
    ]


class FailureShape(Result):
    """An image that was left as it is, and why."""

    id: str
    reason: str


class BatchShape(Result):
    """How many images are now as asked; those that could not be; folders whose content changed."""

    processed: int
    skipped: int | None = None
    failed: list[FailureShape]
    affected_folders: list[str]

    @classmethod
    def of(cls, done: Batched) -> BatchShape:
        """From the platform's report."""
        return cls(
            processed=done.processed,
            skipped=done.skipped or None,
            failed=[FailureShape(id=f.id, reason=f.reason) for f in done.failed],
            affected_folders=sorted(done.folders),
        )
