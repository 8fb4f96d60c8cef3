"""Measures a model on the labelled images of a dataset.

Each image is looked at by itself, and what is kept of it is small; the figures are made of all of that at the
end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.experiments.own_runs import begin_validation, set_evaluation
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import Done, JobPlan, Kind
from tintype_studio.jobs.labelling import of_image, stored_image
from tintype_studio.storage.job_tables import job_items, jobs
from tintype_studio.storage.sweep import keep_blobs
from tintype_studio.training.splits import Choice, candidates, choose, dataset_of, require_some
from tintype_studio.vision.detect.trained import author_of
from tintype_studio.vision.heads import HeadsSignature

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.jobs.job import Item
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio
    from tintype_studio.training.models import Model

PAGE = 500
FIGURES = "figures"
"""Key of the last item, which is no image."""
FIGURES_SECONDS = 1800.0
OF_HEADS = "attributes"
"""Key of what is kept of an image's attributes."""


class Evaluate(Kind):
    """``args``: ``model_id``, ``dataset`` (None: the one that it was trained on), ``split``; if a validation
    session was asked for, ``session`` with its ``name``, ``description``, ``params`` and ``project``; and
    ``annotation_set``, if the truth stands in another than the default one.

    The result has the ``split`` that was measured in truth, ``images``, those ``skipped`` (not labelled, or
    deleted meanwhile), digests of the ``evaluation`` and the ``pictures``, and ``note`` or None.
    """

    name = "evaluate"
    item_seconds = 120.0

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Free; one item per image, and one for the figures. Refuses what has no labelled image."""
        model = studio.models.ready(principal, args["model_id"])
        dataset = dataset_of(studio, principal, model, args["dataset"])
        choice = choose(studio, dataset, model, args["split"], args.get("annotation_set"))
        images = require_some(studio, dataset, model, choice)
        return JobPlan(
            f"Evaluate {author_of(model.name, model.version)} on {dataset.name} ({choice.split})",
            total=images + 1,
            dataset_row_id=dataset.row_id,
        )

    def begun(
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        """The validation session."""
        model = studio.models.get_in(connection, principal, args["model_id"])
        asked = args.get("session") or {}
        begin_validation(
            connection,
            principal,
            job_row_id,
            model=model,
            dataset=dataset_of(studio, principal, model, args["dataset"]),
            params=asked.get("params") or {"split": args["split"]},
            name=asked.get("name") or f"{author_of(model.name, model.version)} {args['split']}",
            description=asked.get("description"),
            project_row_id=asked.get("project"),
            asked=bool(asked),
            annotation_set=args.get("annotation_set"),
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Look at every image, then make the figures."""
        studio = run.studio
        model = studio.models.get(run.principal, run.args["model_id"])
        dataset = dataset_of(studio, run.principal, model, run.args["dataset"])
        choice = choose(studio, dataset, model, run.args["split"], run.args.get("annotation_set"))
        run.stage("looking")
        images = (
            sample.id
            for sample in candidates(studio, dataset, model, choice)
            if sample.created_at <= run.job.created_at
        )
        run.each(images, partial(_look, run, model, _outlined(run, dataset, model, choice.set_id)))
        run.stage("measuring")
        if FIGURES not in run.finished:
            looked = [item.key for item in _items(run) if item.outcome == "done"]
            if not looked:
                raise InvalidInput(
                    "None of the images could be measured.",
                    code="no_images",
                    fix="get_job lists what was wrong with each.",
                )
            title = run.job.title.removeprefix("Evaluate ")
            heads = HeadsSignature.of(model.attributes, 0)
            arguments = (studio.detectors.blob_url, run.job.id, looked, model.signature, title, heads)
            found = run.in_child(f"{__name__}:figures", *arguments, deadline=FIGURES_SECONDS)
            run.commit(FIGURES, write=partial(_keep, run, model, dataset, choice, found), detail=found)
        counts = {"done": 0, "skipped": 0, "failed": 0}
        kept: dict[str, Any] = {}
        for item in _items(run):
            if item.key == FIGURES:
                kept = item.detail
            else:
                counts[item.outcome] += 1
        return {
            "split": choice.split,
            "note": choice.note,
            "images": counts["done"],
            "skipped": counts["skipped"],
            "evaluation": kept["evaluation"],
            "pictures": kept["pictures"],
        }

    def clear(self, studio: Studio, job_id: str) -> None:
        """Remove what was kept of each image."""
        query = (
            sa.select(job_items.c.key)
            .join(jobs, jobs.c.id == job_items.c.job_id)
            .where(jobs.c.uuid == job_id, job_items.c.outcome == "done", job_items.c.key != FIGURES)
        )
        with studio.database.read() as connection:
            keys = connection.execute(query).scalars().all()
        for key in keys:
            studio.blobs.delete_derived(_place(job_id, key))


def _place(job_id: str, sample_id: str) -> str:
    """Where what was seen of an image is kept until the figures are made."""
    return f"jobs/{job_id}/seen/{sample_id}.json"


def _outlined(run: Run, dataset: Dataset, model: Model, set_id: int | None) -> frozenset[str]:
    """Classes that have a polygon somewhere in the dataset; asked where masks are measured."""
    from tintype_studio.vision.evaluate.annotations import MASKS, outlined_classes

    found: set[str] = set()
    if model.model_type in MASKS:
        after = 0
        while page := run.studio.samples.page(dataset, limit=PAGE, after=after):
            run.check()
            for _, annotations in run.studio.documents.of_samples(page, set_id):
                found |= outlined_classes(annotations)
            after = page[-1].row_id
    return frozenset(found)


def _items(run: Run) -> Iterator[Item]:
    after: str | None = None
    while page := run.studio.jobs.items(run.job, limit=PAGE, after=after):
        yield from page
        after = page[-1].key


def _look(run: Run, model: Model, outlined: frozenset[str], sample_id: str) -> Done:
    from tintype_studio.vision.evaluate.annotations import can_be_measured

    studio = run.studio
    try:
        told = run.args.get("annotation_set")
        sample, annotations = studio.documents.get(run.principal, sample_id, annotation_set=told)
    except NotFound:  # deleted meanwhile
        return Done(skipped=True)
    # The status is that of the default set.
    complete = sample.status is Status.COMPLETE and told is None
    if model.signature is None or not can_be_measured(
        model.signature, annotations, sample.folder, complete=complete
    ):
        return Done(skipped=True)
    state = of_image(sample, partial(_seen, run, model, annotations, outlined))
    studio.blobs.put_derived(_place(run.job.id, sample_id), state)
    return Done()


def _seen(
    run: Run, model: Model, annotations: list[Annotation], outlined: frozenset[str], sample: Sample
) -> bytes:
    document = [a.model_dump(mode="json", exclude_none=True) for a in annotations]
    state: bytes = run.in_child(
        f"{__name__}:look",
        run.studio.detectors.blob_url,
        model.onnx_sha256,
        sample.sha256,
        document,
        sample.folder,
        outlined,
        model.heads_sha256,
    )
    return state


def _keep(
    run: Run,
    model: Model,
    dataset: Dataset,
    choice: Choice,
    found: dict[str, Any],
    connection: sa.Connection,
) -> None:
    """Record the evaluation, whose bytes are stored."""
    digests = {found["evaluation"], *found["pictures"].values()}
    if not keep_blobs(connection, digests, run.studio.blobs.exists):
        raise Unavailable("A purge removed the evaluation's bytes.", code="evaluation_raced")
    evaluation = run.studio.models.add_evaluation(
        connection,
        model,
        dataset=dataset,
        split=choice.recorded_split,
        sha256=found["evaluation"],
        metrics=found["metrics"],
        images=found["images"],
        pictures=found["pictures"],
        call_id=run.principal.call_id,
    )
    set_evaluation(connection, run.job.row_id, evaluation)


def look(
    blob_url: str,
    onnx_sha256: str,
    sha256: str,
    document: list[dict[str, Any]],
    folder: str,
    outlined: frozenset[str],
    heads_sha256: str | None = None,
) -> bytes:
    """What an evaluator keeps of an image, as JSON. Runs in a child process; models stay open."""
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.evaluate.annotations import truth_of
    from tintype_studio.vision.evaluate.attributes import judge_attributes
    from tintype_studio.vision.evaluate.evaluator import MAX_DETECTIONS, THRESHOLD, evaluator
    from tintype_studio.vision.infer.heads import open_heads
    from tintype_studio.vision.infer.model import open_model
    from tintype_studio.vision.infer.shapes import framed

    blobs = Blobs(blob_url)
    model = open_model(blobs, onnx_sha256)
    heads = None if heads_sha256 is None else open_heads(blobs, heads_sha256)
    pixels, across, down = framed(stored_image(blob_url, sha256))
    (seen,) = model.predict([pixels], threshold=THRESHOLD, max_detections=MAX_DETECTIONS)
    truth = truth_of(
        model.signature,
        ANNOTATIONS.validate_python(document),
        size=(seen.width, seen.height),
        across=across,
        down=down,
        folder=folder,
        outlined=outlined,
        attributes=None if heads is None else heads.signature.attributes,
    )
    judge = evaluator(model.signature)
    judge.add(seen, truth)
    state = judge.state()
    if heads is not None:
        state[OF_HEADS] = judge_attributes(heads, model.signature.classes, pixels, truth, seen).state()
    return orjson.dumps(state)


def figures(
    blob_url: str, job_id: str, looked: Sequence[str], signature: Any, title: str, heads: HeadsSignature
) -> dict[str, Any]:
    """Digests of evaluation and pictures, metrics and the number of images. Runs in a child process."""
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.evaluate import plots
    from tintype_studio.vision.evaluate.attributes import AttributesEvaluator, accuracy_metrics
    from tintype_studio.vision.evaluate.evaluator import evaluator

    blobs = Blobs(blob_url)
    judge, of_heads = evaluator(signature), AttributesEvaluator(heads)
    for key in looked:
        state = blobs.get_derived(_place(job_id, key))
        if state is None:
            raise Unavailable(
                "What was seen of an image is gone.",
                code="evaluation_lost",
                fix="Call evaluate_model again.",
                retryable=False,
            )
        found = orjson.loads(state)
        of_heads.merge(found.pop(OF_HEADS, {}))
        judge.merge(found)
    attributes = of_heads.result()
    evaluation = judge.result()
    metrics = {**evaluation.metrics, **accuracy_metrics(attributes)}
    evaluation = replace(evaluation, metrics=metrics, attributes=attributes)
    drawn = {
        "pr_curves": plots.pr_curves(evaluation, title),
        "confusion": plots.confusion(evaluation, title),
    }
    return {
        "evaluation": blobs.put(orjson.dumps(evaluation.as_json())),
        "pictures": {name: blobs.put(png) for name, png in drawn.items() if png is not None},
        "metrics": evaluation.metrics,
        "images": evaluation.images,
    }


KIND = Evaluate()
