"""Labels the images of a dataset: finds every object of some classes, and saves them as drafts.

The engines are chosen once, when the job begins, and kept with it: with ``overwrite`` the job replaces the
very annotations that the dataset's own detector learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.classes import require_known
from tintype_studio.annotations.documents import current_document, newest_change
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.errors import Conflict, InvalidImage, InvalidInput, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import Done, JobPlan, Kind
from tintype_studio.ledger.prices import price_of
from tintype_studio.names import clean_name
from tintype_studio.storage.job_tables import job_items, jobs
from tintype_studio.vision.detect.chain import TEACHING_SECONDS, DetectorSettings, EngineSpec, Survey
from tintype_studio.vision.detect.examples import Lesson

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.jobs.job import Job
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio
    from tintype_studio.vision.detect.annotate import OutputType

OPERATION = "auto_annotate_image"
PAGE = 500
MAX_CLASSES = 50
MAX_DETECTIONS = 300
"""In one image."""
TEACH = "tintype_studio.vision.detect.chain:teach"


@dataclass(frozen=True, slots=True)
class Asked:
    """An engine, and what it is asked for: labels, the words for them, and the shapes they get."""

    spec: EngineSpec
    labels: tuple[str, ...]
    words: tuple[str, ...]
    output_types: tuple[OutputType, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """Images of a dataset: all, those that the job is to label, and those that it passes over."""

    images: int
    meant: int

    @property
    def passed_over(self) -> int:
        """Labelled already, or beyond ``max_images``."""
        return self.images - self.meant


class AutoAnnotate(Kind):
    """``args``: ``dataset``, ``classes`` (``name``, ``output_type``), ``threshold``, ``overwrite``,
    ``max_images`` or None, and ``one_by_one``: ask for each class by itself.
    """

    name = "auto_annotate"
    item_seconds = 300.0

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """One item and one price per image; refuses unknown classes, and classes that nobody can find."""
        dataset = studio.datasets.get(principal, args["dataset"])
        names = checked_names(dataset, args["classes"])
        meant = extent(studio, dataset, args).meant
        studio.detectors.survey(dataset, {name: name for name in names}).require(dataset.name)
        return JobPlan(
            f"Label {', '.join(names)[:100]} in {dataset.name}",
            total=meant,
            credits=price_of(OPERATION).total(meant),
            dataset_row_id=dataset.row_id,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Choose engines, teach the own detector if it is one, label image by image."""
        studio = run.studio
        dataset = studio.datasets.get(run.principal, run.args["dataset"])
        if next(_to_label(run, dataset), None) is not None:
            run.stage("choosing engines")
            engines = self._engines(run, dataset)
            run.stage("labelling")
            run.each(_to_label(run, dataset), partial(_label, run, engines))
        run.stage("counting")
        return asdict(totals(studio, studio.jobs.get(run.principal, run.job.id)))

    def _engines(self, run: Run, dataset: Dataset) -> list[Asked]:
        """The engines of this job, ready to work."""
        blobs, key = run.studio.blobs, f"jobs/{run.job.id}/engines.json"
        kept = blobs.get_derived(key)
        if kept is not None:
            return _read_engines(kept)
        shapes = {c["name"]: c["output_type"] for c in run.args["classes"]}
        names = checked_names(dataset, run.args["classes"])
        survey = run.studio.detectors.survey(dataset, {name: name for name in names}, run.check)
        survey.require(dataset.name)
        for name in survey.missing:
            run.log(f"No engine can find {name!r}; the other classes are labelled.", "warning")
        engines = _asked(survey, shapes, one_by_one=run.args["one_by_one"])
        for spec, labels in survey.groups():
            if spec.lesson is not None:
                run.stage("learning from accepted annotations")
                run.in_child(TEACH, _blob_url(run.studio), spec, deadline=TEACHING_SECONDS)
            run.log(f"{', '.join(labels)[:300]}: {spec.kind}.")
        blobs.put_derived(key, orjson.dumps([_engine_as_json(each) for each in engines]))
        return engines


def checked_names(dataset: Dataset, classes: Sequence[dict[str, str]]) -> list[str]:
    """The class names, cleaned; refuses repeated names, and names that the dataset would not take."""
    names = [clean_name(each["name"], "Class name") for each in classes]
    if len(set(names)) < len(names):
        raise InvalidInput("A class is named twice.", fix="Name each class once.")
    require_known(dataset, names)
    return names


def extent(studio: Studio, dataset: Dataset, args: dict[str, Any]) -> Extent:
    """How many images there are, and how many of them the job is to label."""
    images = studio.samples.count(dataset)
    meant = images if args["overwrite"] else studio.samples.count(dataset, unlabelled=True)
    most = args["max_images"]
    return Extent(images, meant if most is None else min(meant, most))


@dataclass(frozen=True, slots=True)
class Totals:
    """What came of a job's images: labelled, passed over by the job itself, annotations added."""

    processed: int
    skipped: int
    added: int


def totals(studio: Studio, job: Job) -> Totals:
    """Of a job as it stands; what is finished is read from its result."""
    if job.result is not None:
        return Totals(**job.result)
    processed = skipped = added = 0
    after: str | None = None
    while page := studio.jobs.items(job, limit=PAGE, after=after):
        processed += sum(item.outcome == "done" for item in page)
        skipped += sum(item.outcome == "skipped" for item in page)
        added += sum(item.detail.get("added", 0) for item in page)
        after = page[-1].key
    return Totals(processed, skipped, added)


def _to_label(run: Run, dataset: Dataset) -> Iterator[str]:
    """Ids of the images, in upload order; as many in all turns of the job as were planned.

    Those in which an earlier job found nothing come last: with ``max_images``, a row of jobs gets through.
    """
    left = (run.job.total or 0) - len(run.finished)
    in_vain = _looked_at(run, dataset)
    for again in (False, True):
        after = 0
        while left > 0 and (page := run.studio.samples.page(dataset, limit=PAGE, after=after)):
            for sample in page:
                if sample.id in run.finished or sample.created_at > run.job.created_at:
                    continue
                if (sample.annotation_count and not run.args["overwrite"]) or (
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


def _label(run: Run, engines: Sequence[Asked], sample_id: str) -> Done:
    """One image, found and ready to be saved."""
    studio = run.studio
    try:
        sample = studio.samples.get(run.principal, sample_id)
    except NotFound:  # deleted meanwhile
        return Done(skipped=True)
    if sample.annotation_count and not run.args["overwrite"]:
        return Done(skipped=True)  # labelled meanwhile
    try:
        found = run.in_child(
            f"{__name__}:annotate",
            _blob_url(studio),
            sample.sha256,
            engines,
            run.args["threshold"],
            studio.workspace.sam_model,
        )
    except TintypeError as error:
        raise _named(error, sample) from error
    drafts = ANNOTATIONS.validate_python(found)
    sought = frozenset(label for each in engines for label in each.labels)
    return Done(
        # As for a single prompt, only an answer costs something.
        credits=price_of(OPERATION).total(1) if drafts else 0,
        write=partial(_save, run, sample, sought, drafts),
        detail={"added": len(drafts)},
    )


def _save(
    run: Run, sample: Sample, sought: Set[str], drafts: list[Annotation], connection: sa.Connection
) -> None:
    """Add the drafts to what must stay: classes that were not looked for, and whatever came later."""
    studio = run.studio
    locked = studio.samples.get_in(connection, run.principal, sample.id, lock=True)
    before = current_document(connection, locked.row_id)
    changed = newest_change(connection, locked.row_id)
    if (before and not run.args["overwrite"]) or (changed is not None and changed > run.job.created_at):
        raise Conflict(
            f"{_path(sample)}: somebody labelled it after the job began; their work was kept.",
            code="edited_meanwhile",
            fix="Run again with overwrite=true to replace it.",
        )
    document = [a for a in before if a.name not in sought] + drafts
    if document or before:
        studio.documents.save(run.principal, sample.id, document, bulk=True)


def _named(error: TintypeError, sample: Sample) -> TintypeError:
    """The same error with the image's name in it."""
    if error.code == "blob_missing" or isinstance(error, InvalidImage):
        return InvalidImage(f"{_path(sample)}: {error.message}", code=error.code, fix=error.fix)
    return error


def _blob_url(studio: Studio) -> str:
    """Where a child process finds the images."""
    return studio.detectors.blob_url


def _path(sample: Sample) -> str:
    return f"{sample.folder.rstrip('/')}/{sample.filename}"


def _asked(survey: Survey, shapes: dict[str, str], *, one_by_one: bool) -> list[Asked]:
    found = []
    for spec, labels in survey.groups():
        light = spec if spec.lesson is None else EngineSpec(spec.kind, spec.settings, spec.lesson.taught())
        for group in [[label] for label in labels] if one_by_one else [labels]:
            words = [label if spec.lesson else survey.asked[label] for label in group]
            types = [cast("OutputType", shapes[label]) for label in group]
            found.append(Asked(light, tuple(group), tuple(words), tuple(types)))
    return found


def _engine_as_json(asked: Asked) -> dict[str, Any]:
    lesson = asked.spec.lesson
    return {
        "kind": asked.spec.kind,
        "settings": asdict(asked.spec.settings),
        "lesson": None if lesson is None else {"classes": lesson.classes, "digest": lesson.digest},
        "labels": asked.labels,
        "words": asked.words,
        "output_types": asked.output_types,
    }


def _read_engines(data: bytes) -> list[Asked]:
    return [
        Asked(
            EngineSpec(
                each["kind"],
                DetectorSettings(**each["settings"]),
                None
                if each["lesson"] is None
                else Lesson(tuple(each["lesson"]["classes"]), (), each["lesson"]["digest"]),
            ),
            tuple(each["labels"]),
            tuple(each["words"]),
            tuple(each["output_types"]),
        )
        for each in orjson.loads(data)
    ]


def annotate(
    blob_url: str, sha256: str, engines: Sequence[Asked], threshold: float, sam_model: str | None
) -> list[dict[str, Any]]:
    """The drafts of an image, as JSON. Runs in a child process; engines stay open between calls."""
    import numpy as np

    from tintype_studio.media.decode import decode_upright
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.detect.annotate import Wanted, find
    from tintype_studio.vision.detect.chain import open_engine
    from tintype_studio.vision.detect.text_prompts import plain_errors

    blobs = Blobs(blob_url)
    try:
        data = blobs.get(sha256)
    except NotFound:
        raise InvalidImage(
            "the stored bytes are missing.", code="blob_missing", fix="Upload the image again."
        ) from None
    pixels = np.asarray(decode_upright(data), np.uint8)
    with plain_errors():
        wanted = [
            Wanted(open_engine(each.spec, blobs), each.words, each.labels, each.output_types)
            for each in engines
        ]
        found = find(
            pixels, wanted, _segmenter(sam_model), threshold=threshold, max_detections=MAX_DETECTIONS
        )
    return [a.model_dump(mode="json", exclude_none=True) for a in found.annotations]


_segmenters: dict[str | None, Any] = {}


def _segmenter(sam_model: str | None) -> Any:
    """What outlines detections; kept as long as the process lives."""
    from tintype_studio.vision.prompts import Prompts

    if sam_model not in _segmenters:
        _segmenters[sam_model] = Prompts(sam_model)
    return _segmenters[sam_model].engine


KIND = AutoAnnotate()
