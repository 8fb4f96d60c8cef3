"""Reads every image of a dataset again: are the stored bytes there, are they what was uploaded, do they open.

A disk loses bits without a word; an image that no longer opens is found by the training run that stumbles
over it, or here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import InvalidImage, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import Done, JobPlan, Kind

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

PAGE = 500


class VerifyImages(Kind):
    """``args``: ``dataset``, its name. The result counts ``images`` and what is ``damaged``."""

    name = "verify_images"

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Free; one item per image."""
        dataset = studio.datasets.get(principal, args["dataset"])
        return JobPlan(
            f"Verify the images of {dataset.name}",
            total=dataset.image_count,
            dataset_row_id=dataset.row_id,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Hash and decode in child processes."""
        studio = run.studio
        dataset = studio.datasets.get(run.principal, run.args["dataset"])
        run.stage("verify", total=dataset.image_count)

        def verify(sample_id: str) -> Done:
            try:
                sample = studio.samples.get(run.principal, sample_id)
            except NotFound:  # deleted meanwhile
                return Done(skipped=True)
            try:
                data = studio.samples.image_bytes(sample)
            except NotFound:
                raise InvalidImage(
                    f"{_path(sample.folder, sample.filename)}: the stored bytes are missing.",
                    code="blob_missing",
                    fix="Upload the image again.",
                ) from None
            fault = run.in_child(f"{__name__}:fault_of", data, sample.sha256)
            if fault is not None:
                raise InvalidImage(f"{_path(sample.folder, sample.filename)}: {fault}", code="image_damaged")
            return Done()

        run.each(_sample_ids(studio, dataset), verify)
        failed = studio.jobs.get(run.principal, run.job.id).failed
        return {"images": len(run.finished), "damaged": failed}


def _sample_ids(studio: Studio, dataset: Dataset) -> Iterator[str]:
    after = 0
    while page := studio.samples.page(dataset, limit=PAGE, after=after):
        yield from (sample.id for sample in page)
        after = page[-1].row_id


def _path(folder: str, filename: str) -> str:
    return f"{folder.rstrip('/')}/{filename}"


def fault_of(data: bytes, sha256: str) -> str | None:
    """What is wrong with a stored image; None when it is whole. Runs in a child process."""
    import hashlib

    from tintype_studio.media.decode import decode_upright

    if hashlib.sha256(data).hexdigest() != sha256:
        return "the stored bytes are not those that were uploaded."
    try:
        decode_upright(data)
    except InvalidImage as error:
        return error.message
    return None


KIND = VerifyImages()
