"""Imports an annotated dataset from a folder or a ZIP on this machine.

``args``: ``dataset``, ``path`` (real and absolute: the worker reads it, so it runs on the same machine),
``format``, ``create`` and ``skip_existing``.

First the whole source is looked through (``scan``), and refused before anything is written if it cannot be
understood. Then images come in with their annotations (``import``), a hundred in one transaction: what a
crash takes is taken up by the next turn. An image that the dataset has gets the annotations if it has none,
and is skipped otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.extending import extend_classes
from tintype_studio.annotations.importing import Importing
from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.converted import sentences
from tintype_studio.formats.reading.source import open_source
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.arrivals import Arrivals, counted, keyed, place_of
from tintype_studio.jobs.kind import JobPlan, Kind

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.formats.reading.base import Reader
    from tintype_studio.jobs.job import Job
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

CHUNK = 100
"""Images in one transaction."""
PAGE = 500


class ImportFiles(Kind):
    """Free; one item per image."""

    name = "import_files"

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Opens the source and what tells of it as a whole; the images are counted by the job."""
        dataset = studio.datasets.find(principal, args["dataset"])
        if dataset is None and not args["create"]:
            studio.datasets.get(principal, args["dataset"])  # refuses
        with open_source(args["path"]) as source:
            reader = open_reader(source, args["format"])
        return JobPlan(
            f"Import {reader.format} into {args['dataset']}",
            dataset_row_id=None if dataset is None else dataset.row_id,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Look through the source, then import what is not finished."""
        studio, args = run.studio, run.args
        run.stage("scan")
        with open_source(args["path"]) as source:
            reader = open_reader(source, args["format"])
            run.stage("import", total=counted(run, reader))
            dataset = _dataset(run)
            dataset = extend_classes(
                studio.database, studio.datasets, run.principal, dataset.name, reader.classes
            )
            arrivals = Arrivals(run, reader, dataset, skip_annotated=args["skip_existing"])
            arrivals.take_all(keyed(reader), CHUNK)
            links = len(source.links)
        done = totals(studio, studio.jobs.get(run.principal, run.job.id))
        notes = sentences(reader.counts + Counter(done.counts))
        if links:
            notes.append(f"{links:,} links were not followed.")
        return {"format": reader.format, "notes": notes, **done.as_json()}


@dataclass(slots=True)
class Totals:
    """What came of a job's images. ``counts`` are those of ``Converted``."""

    added: int = 0
    attached: int = 0
    """Images that the dataset had, and that got annotations."""
    skipped: int = 0
    annotations: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """For the job's result."""
        return {
            "added": self.added,
            "attached": self.attached,
            "skipped": self.skipped,
            "annotations": self.annotations,
        }


def totals(studio: Studio, job: Job) -> Totals:
    """Of a job as it stands."""
    if job.result is not None:
        return Totals(**{name: job.result[name] for name in Totals().as_json()})
    found, after = Totals(), None
    while page := studio.jobs.items(job, limit=PAGE, after=after):
        for item in page:
            found.skipped += item.outcome == "skipped"
            found.added += item.outcome == "done" and not item.detail.get("attached")
            found.attached += bool(item.detail.get("attached"))
            found.annotations += item.detail.get("annotations", 0)
            found.counts.update(item.detail.get("noticed", {}))
        after = page[-1].key
    return found


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source holds for a dataset: images that it lists, and those of them that the dataset has."""

    listed: int
    existing: int


def survey(studio: Studio, dataset: Dataset | None, reader: Reader, check: Callable[[], None]) -> Survey:
    """Look through a source, reading no image."""
    importing = Importing(studio.database, studio.ingest, studio.documents)
    listed = existing = 0
    items = (item for item in reader.items() if item.error is None)
    while chunk := list(islice(items, CHUNK)):
        check()
        listed += len(chunk)
        if dataset is not None:
            existing += len(importing.find(dataset, [place_of(item) for item in chunk]))
    return Survey(listed, existing)


def _dataset(run: Run) -> Dataset:
    name = run.args["dataset"]
    if run.args["create"]:
        return run.studio.datasets.get_or_create(run.principal, name)
    return run.studio.datasets.get(run.principal, name)


KIND = ImportFiles()
