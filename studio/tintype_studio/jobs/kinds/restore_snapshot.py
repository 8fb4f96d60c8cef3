"""Restores a snapshot into a new dataset, and labels it where that is asked for.

``args``: ``snapshot`` (UUID), ``dataset`` (its new name), ``description``, ``project`` (row or None),
``topics`` (empty: all), ``fps`` (None: every frame), ``labels`` (empty: none), ``threshold`` and
``overwrite`` (as in ``jobs/labelling.py``: false).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.annotations.extending import extend_classes
from tintype_studio.errors import Conflict, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import Done, End, JobPlan, Kind
from tintype_studio.jobs.kinds.auto_annotate import asked_for, drafts_in, price_of_drafts
from tintype_studio.jobs.labelling import label_image
from tintype_studio.ledger.prices import price_of
from tintype_studio.names import clean_name, clean_text, printable
from tintype_studio.snapshots.messages import Meaning
from tintype_studio.snapshots.recordings import topics_missing
from tintype_studio.snapshots.restoring import (
    Restoring,
    dataset_of,
    doom,
    purge_doomed,
    require_whole,
    summary,
)
from tintype_studio.snapshots.snapshot import Snapshot, SnapshotType
from tintype_studio.snapshots.sources import nothing_in_it, open_source
from tintype_studio.storage.job_tables import jobs
from tintype_studio.vision.detect.guide import told

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio
    from tintype_studio.vision.detect.chain import Survey

OPERATION = "auto_annotate_image"
LABEL = "label "
"""Begins the keys of samples that are labelled."""
PAGE = 500


class RestoreSnapshot(Kind):
    """Free without labels; with them, each picture costs what labelling it costs elsewhere."""

    name = "restore_snapshot"
    item_seconds = 300.0

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Refuses what cannot be restored, names that are taken, and labels that nobody can find."""
        snapshot = studio.snapshots.ready(principal, args["snapshot"])
        name = clean_name(args["dataset"], "Dataset name")
        if studio.datasets.find(principal, name) is not None:
            raise Conflict(
                f"A dataset named {name!r} exists.",
                code="dataset_exists",
                fix="Restore into another name: a snapshot always becomes a new dataset.",
            )
        if snapshot.type is SnapshotType.FILES:
            raise nothing_in_it()
        _require_topics(snapshot, args["topics"])
        if args["labels"]:
            require_engine(survey(studio, principal, args), args["labels"])
        pictures = most_pictures(snapshot, args["topics"], args["fps"])
        return JobPlan(
            f"Restore {snapshot.name} into {args['dataset']}",
            credits=price_of(OPERATION).total(pictures) if args["labels"] else 0,
        )

    def begun(
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        """The dataset, empty."""
        dataset = studio.datasets.create(
            principal,
            name=args["dataset"],
            description=args["description"],
            project_row_id=args["project"],
        )
        connection.execute(sa.update(jobs).where(jobs.c.id == job_row_id).values(dataset_id=dataset.row_id))

    def run(self, run: Run) -> dict[str, Any]:
        """Open, restore sample after sample, label."""
        studio, args = run.studio, run.args
        snapshot = studio.snapshots.ready(run.principal, args["snapshot"])
        dataset = dataset_of(studio, run.principal, run.job.row_id)
        run.stage("read")
        with studio.snapshots.laid_out(snapshot) as folder:
            source = open_source(
                snapshot.type,
                folder,
                [file.path for file in snapshot.files],
                topics=args["topics"],
                fps=args["fps"],
                check=run.check,
            )
            try:
                run.stage("restore", total=source.count)
                dataset = extend_classes(
                    studio.database, studio.datasets, run.principal, dataset.name, source.classes
                )
                Restoring(run, source, dataset).take_all()
                done = summary(run)
                require_whole(run, source, done)
            finally:
                source.close()
        notes = list(source.notes)
        if done["skipped"]:
            notes.append(f"{done['skipped']:,} frames could not be read and were left out.")
        labelled = _label(run, dataset) if args["labels"] else 0
        return {"dataset": dataset.id, **done, "labelled": labelled, "notes": notes}

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:
        """A restore that did not come to its end leaves no dataset."""
        if end.status is not JobStatus.COMPLETED:
            doom(connection, end.job_row_id, end.job_id)

    def clear(self, studio: Studio, job_id: str) -> None:
        """Remove what is left of it."""
        purge_doomed(studio.database)


def survey(studio: Studio, principal: Principal, args: dict[str, Any]) -> Survey:
    """Who can find the labels in pictures of a dataset that is new."""
    names = [clean_text(name, "Label", max_length=120) for name in args["labels"]]
    models = studio.models.newest_in_project(principal, args["project"])
    return studio.detectors.survey_new({name: name for name in names}, models)


def require_engine(found: Survey, labels: Sequence[str]) -> None:
    """``Unavailable`` (``needs_engine``) if nobody here can find any of the labels."""
    if not found.engines:
        shown = ", ".join(repr(printable(name[:60])) for name in labels[:5])
        raise Unavailable(
            f"No engine here can find {shown} in pictures without any labels; nothing was restored.",
            code="needs_engine",
            fix="Restore without labels, label a few pictures, and auto_annotate_dataset finds the rest. Or "
            "train a detection model in this project first, or have the operator set up a detector model.",
            retryable=False,
            details={"classes": [{"name": n, "engines": told(found.readiness[n])} for n in found.missing]},
        )


def _require_topics(snapshot: Snapshot, topics: Sequence[str]) -> None:
    """``InvalidInput`` (``topic_not_found``) for topics that a recording does not have."""
    if not topics or snapshot.type is not SnapshotType.MCAP:
        return
    known = {each["topic"] for each in snapshot.facts.get("topics", [])}
    missing = [topic for topic in topics if topic not in known]
    if missing and len(known) == snapshot.facts.get("topic_count"):
        raise topics_missing(missing, known)


def most_samples(snapshot: Snapshot, topics: list[str], fps: float | None) -> int:
    """How many samples there are at most: those of the cameras or, without one, of the point clouds."""
    return most_pictures(snapshot, topics, fps) or _most_of(Meaning.POINTS, snapshot, topics, fps)


def most_pictures(snapshot: Snapshot, topics: list[str], fps: float | None) -> int:
    """How many pictures there are at most."""
    if snapshot.type is SnapshotType.EDGEFIRST:
        return int(snapshot.facts.get("samples", 0))
    return _most_of(Meaning.CAMERA, snapshot, topics, fps)


def _most_of(meaning: Meaning, snapshot: Snapshot, topics: list[str], fps: float | None) -> int:
    found = 0
    for topic in snapshot.facts.get("topics", []):
        if topic["meaning"] == meaning.value and (not topics or topic["topic"] in topics):
            slots = topic["messages"] if fps is None else int(topic["seconds"] * fps) + 2
            found += min(topic["messages"], slots)
    return found


def _label(run: Run, dataset: Dataset) -> int:
    """Draft annotations in every picture that has none; returns how many drafts."""
    studio = run.studio
    run.stage("choosing engines")
    found = survey(studio, run.principal, run.args)
    require_engine(found, run.args["labels"])
    for name in found.missing:
        run.log(f"No engine can find {name!r}; the other labels are sought.", "warning")
    engines = asked_for(found, {name: "bbox" for name in found.engines}, one_by_one=False)
    sought = frozenset(name for each in engines for name in each.labels)
    pictures = _pictures(studio, dataset)
    run.stage("label", total=len(run.finished) + sum(key not in run.finished for key in pictures))
    engine = partial(drafts_in, run, engines)

    def one(key: str) -> Done:
        return label_image(run, engine, sought, price_of_drafts, key.removeprefix(LABEL))

    run.each(pictures, one)
    return sum(item.detail.get("added", 0) for item in _items(run) if item.key.startswith(LABEL))


def _pictures(studio: Studio, dataset: Dataset) -> list[str]:
    keys: list[str] = []
    after = 0
    while page := studio.samples.page(dataset, limit=PAGE, after=after):
        keys += [f"{LABEL}{sample.id}" for sample in page]
        after = page[-1].row_id
    return keys


def _items(run: Run) -> Any:
    after = None
    while page := run.studio.jobs.items(run.job, limit=PAGE, after=after):
        yield from page
        after = page[-1].key


KIND = RestoreSnapshot()
