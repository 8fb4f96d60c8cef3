"""Labels the images of a dataset: finds every object of some classes, and saves them as drafts.

The engines are chosen once, when the job begins, and kept with it: with ``overwrite`` the job replaces the
very annotations that the dataset's own detector learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson

from tintype_studio.annotations.classes import require_known
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import JobPlan, Kind
from tintype_studio.jobs.labelling import label_image, meant_by, stored_image, to_label, totals
from tintype_studio.ledger.prices import price_of
from tintype_studio.names import clean_name
from tintype_studio.vision.detect.chain import TEACHING_SECONDS, DetectorSettings, EngineSpec, Survey
from tintype_studio.vision.detect.examples import Lesson
from tintype_studio.vision.detect.trained import TrainedModel

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio
    from tintype_studio.vision.detect.annotate import OutputType

OPERATION = "auto_annotate_image"
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


class AutoAnnotate(Kind):
    """``args``: ``dataset``, ``classes`` (``name``, ``output_type``), ``threshold``, ``overwrite``,
    ``max_images`` or None, and ``one_by_one``: ask for each class by itself; or ``rows`` and ``redraft``
    (``jobs/labelling.py``) in place of ``max_images``.
    """

    name = "auto_annotate"
    item_seconds = 300.0

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """One item and one price per image; refuses unknown classes, and classes that nobody can find."""
        dataset = studio.datasets.get(principal, args["dataset"])
        names = checked_names(dataset, args["classes"])
        meant = meant_by(studio, dataset, args, labelled=args["overwrite"])
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
        labelled = run.args["overwrite"]
        if next(to_label(run, dataset, labelled=labelled), None) is not None:
            run.stage("choosing engines")
            engines = self._engines(run, dataset)
            sought = frozenset(name for each in engines for name in each.labels)
            run.stage("labelling")
            work = partial(label_image, run, partial(drafts_in, run, engines), sought, price_of_drafts)
            run.each(to_label(run, dataset, labelled=labelled), work)
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
        engines = asked_for(survey, shapes, one_by_one=run.args["one_by_one"])
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


def price_of_drafts(drafts: int) -> int:
    """As for a single prompt, only an answer costs something."""
    return price_of(OPERATION).total(1) if drafts else 0


def drafts_in(run: Run, engines: Sequence[Asked], sample: Sample) -> list[Annotation]:
    """What the engines find in an image."""
    found = run.in_child(
        f"{__name__}:annotate",
        _blob_url(run.studio),
        sample.sha256,
        engines,
        run.args["threshold"],
        run.studio.workspace.sam_model,
    )
    return ANNOTATIONS.validate_python(found)


def _blob_url(studio: Studio) -> str:
    """Where a child process finds the images."""
    return studio.detectors.blob_url


def asked_for(survey: Survey, shapes: dict[str, str], *, one_by_one: bool) -> list[Asked]:
    """Each engine of a survey with the labels that it is asked for, and their shapes."""
    found = []
    for spec, labels in survey.groups():
        light = spec if spec.lesson is None else replace(spec, lesson=spec.lesson.taught())
        for group in [[label] for label in labels] if one_by_one else [labels]:
            words = [survey.asked[label] if spec.understands_words else label for label in group]
            types = [cast("OutputType", shapes[label]) for label in group]
            found.append(Asked(light, tuple(group), tuple(words), tuple(types)))
    return found


def _engine_as_json(asked: Asked) -> dict[str, Any]:
    lesson = asked.spec.lesson
    return {
        "kind": asked.spec.kind,
        "settings": asdict(asked.spec.settings),
        "lesson": None if lesson is None else {"classes": lesson.classes, "digest": lesson.digest},
        "model": None if asked.spec.model is None else asdict(asked.spec.model),
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
                TrainedModel.from_json(each["model"]) if each.get("model") else None,
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
    pixels = np.asarray(decode_upright(stored_image(blob_url, sha256)), np.uint8)
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
