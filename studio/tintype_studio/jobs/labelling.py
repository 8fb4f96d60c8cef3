"""What jobs share that save drafts in the images of a dataset: which images, what stays, what is counted.

``args`` of such a job hold ``overwrite``. With ``rows`` it looks at the images of just these rows; with
``redraft``, which goes with them, what is only drafts in them counts as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from tintype_studio.annotations.documents import current_document, newest_change
from tintype_studio.annotations.fitting import fitting
from tintype_studio.annotations.options import declared_in
from tintype_studio.errors import Conflict, InvalidImage, NotFound, TintypeError
from tintype_studio.jobs.kind import Done
from tintype_studio.jobs.named_images import ids_of, only_drafts
from tintype_studio.storage.job_tables import job_items, jobs

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.jobs.job import Job
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

_T = TypeVar("_T")

PAGE = 500

Engine = Callable[["Sample"], "list[Annotation]"]
"""Finds the drafts of an image; names neither it nor its bytes in its errors."""


def meant_by(studio: Studio, dataset: Dataset, args: dict[str, Any], *, labelled: bool) -> int:
    """How many images a job with these arguments is to look at; ``labelled``: also those that are
    labelled.
    """
    if "rows" in args:
        return len(args["rows"])
    meant = studio.samples.count(dataset, unlabelled=not labelled)
    most: int | None = args["max_images"]
    return meant if most is None else min(meant, most)


@dataclass(frozen=True, slots=True)
class Totals:
    """What came of a job's images: labelled, passed over by the job itself, annotations added."""

    processed: int
    skipped: int
    added: int


def totals(studio: Studio, job: Job) -> Totals:
    """Of a job as it stands; what is finished is read from its result."""
    if job.result is not None:
        return Totals(**{name: job.result[name] for name in ("processed", "skipped", "added")})
    processed = skipped = added = 0
    after: str | None = None
    while page := studio.jobs.items(job, limit=PAGE, after=after):
        processed += sum(item.outcome == "done" for item in page)
        skipped += sum(item.outcome == "skipped" for item in page)
        added += sum(item.detail.get("added", 0) for item in page)
        after = page[-1].key
    return Totals(processed, skipped, added)


def to_label(run: Run, dataset: Dataset, *, labelled: bool) -> Iterator[str]:
    """Ids of the images, in upload order; as many in all turns of the job as were planned.

    Those in which an earlier job found nothing come last: with ``max_images``, a row of jobs gets through.
    """
    if "rows" in run.args:
        yield from (each for each in ids_of(run.studio, run.args["rows"]) if each not in run.finished)
        return
    left = (run.job.total or 0) - len(run.finished)
    in_vain = _looked_at(run, dataset)
    for again in (False, True):
        after = 0
        while left > 0 and (page := run.studio.samples.page(dataset, limit=PAGE, after=after)):
            for sample in page:
                if sample.id in run.finished or sample.created_at > run.job.created_at:
                    continue
                if (sample.is_labelled and not labelled) or (
                    again is not (sample.id in in_vain and not sample.annotation_count)
                ):
                    continue
                if left <= 0:
                    return
                left -= 1
                yield sample.id
            after = page[-1].row_id


def _looked_at(run: Run, dataset: Dataset) -> frozenset[str]:
    """Ids of images that earlier jobs of this kind have dealt with."""
    query = (
        sa.select(job_items.c.key)
        .join(jobs, jobs.c.id == job_items.c.job_id)
        .where(
            jobs.c.dataset_id == dataset.row_id,
            jobs.c.kind == run.job.kind,
            jobs.c.id < run.job.row_id,
            job_items.c.outcome == "done",
        )
    )
    with run.studio.database.read() as connection:
        return frozenset(connection.execute(query).scalars())


def label_image(
    run: Run, engine: Engine, sought: Set[str], price: Callable[[int], int], sample_id: str
) -> Done:
    """One image, found and ready to be saved.

    ``sought`` are the classes whose annotations ``overwrite`` replaces; ``price`` says what so many drafts
    of an image cost.
    """
    studio = run.studio
    try:
        sample = studio.samples.get(run.principal, sample_id)
    except NotFound:  # deleted meanwhile
        return Done(skipped=True)
    if sample.is_labelled and not run.args["overwrite"]:
        _, before = studio.documents.get(run.principal, sample_id)
        if not _may_replace(run, sample, before):
            return Done(skipped=True)  # labelled meanwhile
    drafts = of_image(sample, engine)
    return Done(
        credits=price(len(drafts)),
        write=partial(_save, run, sample, sought, drafts),
        detail={"added": len(drafts)},
    )


def of_image(sample: Sample, look: Callable[[Sample], _T]) -> _T:
    """What ``look`` finds in the image; errors that are the image's own name it."""
    try:
        return look(sample)
    except TintypeError as error:
        raise _named(error, sample) from error


def _save(
    run: Run, sample: Sample, sought: Set[str], drafts: list[Annotation], connection: sa.Connection
) -> None:
    """Add the drafts to what must stay: classes that were not looked for, and whatever came later."""
    studio = run.studio
    locked = studio.samples.get_in(connection, run.principal, sample.id, lock=True)
    before = current_document(connection, locked.row_id)
    changed = newest_change(connection, locked.row_id)
    if not _may_replace(run, locked, before) or (changed is not None and changed > run.job.created_at):
        raise Conflict(
            f"{path_of(sample)}: somebody labelled it after the job began; their work was kept.",
            code="edited_meanwhile",
            fix="Run again with overwrite=true to replace it.",
        )
    kept = [a for a in before if a.name not in sought]
    document = [*kept, *fitting(drafts, declared_in(connection, locked.dataset_row_id))]
    if document or before:
        studio.documents.save(run.principal, sample.id, document, bulk=True)


def _may_replace(run: Run, sample: Sample, before: list[Annotation]) -> bool:
    if run.args["overwrite"] or not sample.is_labelled:
        return True
    return bool(before) and run.args.get("redraft", False) and only_drafts(before)


def stored_image(blob_url: str, sha256: str) -> bytes:
    """An image's bytes, in a child process; ``InvalidImage`` (``blob_missing``) when they are gone."""
    from tintype_studio.storage.blobs import Blobs

    try:
        return Blobs(blob_url).get(sha256)
    except NotFound:
        raise InvalidImage(
            "the stored bytes are missing.", code="blob_missing", fix="Upload the image again."
        ) from None


def path_of(sample: Sample) -> str:
    """Folder and file name."""
    return f"{sample.folder.rstrip('/')}/{sample.filename}"


def _named(error: TintypeError, sample: Sample) -> TintypeError:
    """The same error with the image's name in it."""
    if error.code == "blob_missing" or isinstance(error, InvalidImage):
        return InvalidImage(f"{path_of(sample)}: {error.message}", code=error.code, fix=error.fix)
    return error
