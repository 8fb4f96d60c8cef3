"""Asks a trained model about the images of a dataset, and saves what it finds as drafts.

A model that classifies whole images finds no places, which is what annotations are of; its answers stay with
the job's items.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.classes import require_known
from tintype_studio.annotations.geometry import ANNOTATIONS, BBoxAnnotation, PolygonAnnotation
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import Done, JobPlan, Kind
from tintype_studio.jobs.labelling import label_image, meant_by, of_image, stored_image, to_label, totals
from tintype_studio.ledger.prices import price_of
from tintype_studio.vision.detect.trained import author_of
from tintype_studio.vision.tasks import Task

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio
    from tintype_studio.training.models import Model
    from tintype_studio.vision.heads import Choices

OPERATION = "image_inference"
MAX_DETECTIONS = 300
"""In one image."""
BEST = 5
"""Classes that an answer about a whole image tells."""


class Predict(Kind):
    """``args``: ``model_id``, ``dataset``, ``threshold``, ``overwrite``, ``max_images`` or None; or ``rows``
    and ``redraft`` (``jobs/labelling.py``) in its place. With ``classes`` (``name``, ``output_type``) only
    these are saved, and as boxes where that is their type.
    """

    name = "predict"
    item_seconds = 120.0

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """One item and one price per image; refuses a model that is not ready, or whose classes are not the
        dataset's.
        """
        model = studio.models.ready(principal, args["model_id"])
        dataset = studio.datasets.get(principal, args["dataset"])
        if model.model_type is not Task.CLASSIFICATION:
            _sought(dataset, model, args)
        meant = meant_by(studio, dataset, args, labelled=_also_labelled(model, args))
        return JobPlan(
            f"Predict {dataset.name} with {author_of(model.name, model.version)}",
            total=meant,
            credits=price_of(OPERATION).total(meant),
            dataset_row_id=dataset.row_id,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Ask image by image."""
        studio = run.studio
        model = studio.models.get(run.principal, run.args["model_id"])
        dataset = studio.datasets.get(run.principal, run.args["dataset"])
        run.stage("predicting")
        images = to_label(run, dataset, labelled=_also_labelled(model, run.args))
        if model.model_type is Task.CLASSIFICATION:
            run.each(images, partial(_classify, run, model))
        else:
            sought = _sought(dataset, model, run.args)
            if others := sorted(set(model.classes) - usable_classes(dataset, model)):
                run.log(f"The dataset does not take {', '.join(others)[:300]}: left out.", "warning")
            engine = partial(_drafts, run, model, sought)
            run.each(images, partial(label_image, run, engine, sought, _price))
        run.stage("counting")
        return asdict(totals(studio, studio.jobs.get(run.principal, run.job.id)))


def usable_classes(dataset: Dataset, model: Model) -> frozenset[str]:
    """The model's classes that the dataset takes; InvalidInput (``unknown_class``) when it takes none."""
    if not dataset.classes_declared:
        return frozenset(model.classes)
    known = frozenset(model.classes) & {each.name for each in dataset.classes}
    if not known:
        require_known(dataset, model.classes)
    return known


def _sought(dataset: Dataset, model: Model, args: dict[str, Any]) -> frozenset[str]:
    """The classes to look for; InvalidInput (``unknown_class``) for one that the model does not know."""
    usable = usable_classes(dataset, model)
    asked = [each["name"] for each in args.get("classes") or ()]
    if unknown := sorted(set(asked) - set(model.classes)):
        raise InvalidInput(
            f"{author_of(model.name, model.version)} does not know {', '.join(unknown)[:200]!r}.",
            code="unknown_class",
            fix=f"It knows: {', '.join(model.classes)[:500]}.",
        )
    require_known(dataset, asked)
    return usable & frozenset(asked) if asked else usable


def _also_labelled(model: Model, args: dict[str, Any]) -> bool:
    """An answer about the whole image touches no annotations, so it is given for all."""
    return bool(args["overwrite"]) or model.model_type is Task.CLASSIFICATION


def _price(drafts: int) -> int:
    """As everywhere, only an answer with objects costs something."""
    return price_of(OPERATION).total(1) if drafts else 0


def _drafts(run: Run, model: Model, sought: frozenset[str], sample: Sample) -> list[Annotation]:
    author = author_of(model.name, model.version)
    found = ANNOTATIONS.validate_python(
        run.in_child(
            f"{__name__}:annotate",
            run.studio.detectors.blob_url,
            model.onnx_sha256,
            sample.sha256,
            run.args["threshold"],
            author,
            model.heads_sha256,
        )
    )
    as_boxes = {each["name"] for each in run.args.get("classes") or () if each["output_type"] == "bbox"}
    return [_as_box(each) if each.name in as_boxes else each for each in found if each.name in sought]


def _as_box(annotation: Annotation) -> Annotation:
    """The box around a polygon, and what else it says; other annotations as they are."""
    if not isinstance(annotation, PolygonAnnotation) or annotation.bounding_box is None:
        return annotation
    return BBoxAnnotation(**annotation.model_dump(exclude={"type", "polygon"}))


def _classify(run: Run, model: Model, sample_id: str) -> Done:
    try:
        sample = run.studio.samples.get(run.principal, sample_id)
    except NotFound:  # deleted meanwhile
        return Done(skipped=True)
    scores = of_image(
        sample,
        lambda sample: run.in_child(
            f"{__name__}:classify", run.studio.detectors.blob_url, model.onnx_sha256, sample.sha256
        ),
    )
    return Done(credits=price_of(OPERATION).total(1), detail={"scores": scores})


def annotate(
    blob_url: str,
    onnx_sha256: str,
    sha256: str,
    threshold: float,
    author: str,
    heads_sha256: str | None = None,
) -> list[dict[str, Any]]:
    """The drafts of an image, as JSON. Runs in a child process; models stay open between calls."""
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.infer.model import open_model
    from tintype_studio.vision.infer.shapes import chosen_for, drafts_of, framed, shapes_of

    blobs = Blobs(blob_url)
    model = open_model(blobs, onnx_sha256)
    pixels, across, down = framed(stored_image(blob_url, sha256))
    (seen,) = model.predict([pixels], threshold=threshold, max_detections=MAX_DETECTIONS)
    choices: list[Choices] = []
    if heads_sha256 is not None:
        from tintype_studio.vision.infer.heads import open_heads

        choices = chosen_for(open_heads(blobs, heads_sha256), model.signature, seen, pixels)
    shapes = shapes_of(model.signature, seen, across=across, down=down, threshold=threshold, choices=choices)
    return [a.model_dump(mode="json", exclude_none=True) for a in drafts_of(shapes, author)]


def classify(blob_url: str, onnx_sha256: str, sha256: str) -> dict[str, float]:
    """The best classes of an image with their scores, best first. Runs in a child process."""
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.infer.model import open_model
    from tintype_studio.vision.infer.shapes import framed, ranked

    model = open_model(Blobs(blob_url), onnx_sha256)
    pixels, _, _ = framed(stored_image(blob_url, sha256))
    (seen,) = model.predict([pixels], threshold=0.0)
    return dict(ranked(model.signature, seen)[:BEST])


KIND = Predict()
