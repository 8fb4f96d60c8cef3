"""From pictures to a model in one job: what that would do and cost, and its start.

The phases are those of ``auto_annotate`` and ``train``; the pictures are in the dataset by then. What came of
them stands in ``pipeline_state``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from tintype_studio.catalog.samples import STATUS_FILTERS
from tintype_studio.errors import Conflict, InvalidInput, Unavailable
from tintype_studio.extras import install_command
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kinds.auto_annotate import OPERATION, checked_names
from tintype_studio.ledger.prices import price_of
from tintype_studio.names import clean_name
from tintype_studio.storage.tables import holds
from tintype_studio.training.outlines import require_outlines
from tintype_studio.training.pipeline_state import error_as_json
from tintype_studio.training.plan import EXTRA, TrainRequest, missing_libraries, operation_of
from tintype_studio.training.weights import weights_of
from tintype_studio.vision.train.config import TrainConfig, read_config
from tintype_studio.vision.train.pipelines import pipeline_of
from tintype_studio.vision.train.requirements import MASK_TASKS

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.studio import Studio

KIND = "full_pipeline"
OPERATION_OF_ALL = "full_pipeline"
"""What the ledger calls the charges: one hold pays for both phases, each at its own price."""
STATUS_FILTER = "complete"
"""Of the images that are trained on. Drafts make an image complete, so what was found takes part."""


Phase = Literal["upload", "credits", "annotate", "train"]


@dataclass(frozen=True, slots=True)
class PipelineRequest:
    """What is asked for."""

    dataset: str
    classes: tuple[dict[str, str], ...]
    """``name`` and ``output_type``."""
    pipeline: str
    gpu: str
    annotate: bool = True
    train: bool = True
    one_by_one: bool = False
    """Ask for each class by itself."""
    threshold: float = 0.5
    config: Mapping[str, Any] = field(default_factory=dict)
    """Of the training."""
    min_credits: int | None = 1
    """With less, nothing paid is begun; None: no matter."""
    local_weights: str | None = None
    """As in ``TrainRequest``."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "classes": list(self.classes), "config": dict(self.config)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PipelineRequest:
        """What ``as_json`` gave."""
        return cls(**{**found, "classes": tuple(found["classes"])})

    @property
    def names(self) -> list[str]:
        """Of the classes."""
        return [clean_name(each["name"], "Class name") for each in self.classes]

    def labelling(self) -> dict[str, Any]:
        """As arguments of the kind ``auto_annotate``."""
        return {
            "dataset": self.dataset,
            "classes": list(self.classes),
            "threshold": self.threshold,
            "overwrite": False,
            "max_images": None,
            "one_by_one": self.one_by_one,
        }

    def training(self, dataset: Dataset) -> TrainRequest:
        """The training, on the classes that were asked for; a class that nobody found is left out."""
        known = {each.name for each in dataset.classes}
        wanted = [name for name in self.names if name in known]
        return TrainRequest(
            self.dataset,
            self.pipeline,
            self.gpu,
            config=self.config,
            # With none of them known, it is refused for that, and not trained on others.
            class_filter=None if known <= set(wanted) else tuple(wanted or self.names),
            status_filter=STATUS_FILTER,
            local_weights=self.local_weights,
        )


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a pipeline may do at most."""

    images: int
    """To label."""
    config: TrainConfig
    training_credits: int

    @property
    def credits(self) -> int:
        """For all of it."""
        return price_of(OPERATION).total(self.images) + self.training_credits


def foresee(studio: Studio, principal: Principal, request: PipelineRequest, *, arriving: int = 0) -> Foreseen:
    """Check a request, and say what it takes at most; ``arriving`` pictures are still to be uploaded.

    Raises what no dataset can change: ``InvalidInput`` (``unknown_pipeline``, ``unknown_gpu``,
    ``invalid_config``, ``invalid_name``, ``unknown_class``, ``outlines_needed``, ``wrong_export``),
    ``Unavailable`` (``needs_extra``), and what ``weights_of`` raises.
    """
    pipeline = pipeline_of(request.pipeline)
    config, _ = read_config(pipeline, request.config)
    operation = operation_of(request.gpu)
    if request.annotate and request.train and pipeline.task in MASK_TASKS:
        _require_outlines(request)
    dataset = studio.datasets.find(principal, request.dataset)
    if dataset is not None:
        checked_names(dataset, request.classes)
        if request.train and not request.annotate and dataset.annotation_count:
            # Nothing will add outlines: pictures bring none.
            require_outlines(
                studio.database,
                dataset,
                pipeline.task,
                statuses=STATUS_FILTERS[STATUS_FILTER],
                classes=request.names,
                drafts=config.drafts,
            )
    elif len(set(request.names)) < len(request.names):
        raise InvalidInput("A class is named twice.", fix="Name each class once.")
    if request.train:
        weights_of(studio, principal, pipeline.name, config.pretrained, request.local_weights)
        _require_libraries()
    images = 0
    if request.annotate:
        images = arriving + (0 if dataset is None else studio.samples.count(dataset, unlabelled=True))
    credits = price_of(operation).total(config.max_minutes) if request.train else 0
    return Foreseen(images, config, credits)


def _require_outlines(request: PipelineRequest) -> None:
    if all(each["output_type"] == "bbox" for each in request.classes):
        raise InvalidInput(
            f"{request.pipeline} learns from outlines, and every class is to be labelled with boxes.",
            code="outlines_needed",
            fix="Leave output_type out (polygon), or train yolox or rfdetr_detection.",
        )


def _require_libraries() -> None:
    # Before anything is paid for; a training that stands alone is refused when it is planned.
    missing = missing_libraries()
    if missing:
        raise Unavailable(
            f"Training needs libraries that are not installed here: {', '.join(missing)}.",
            code="needs_extra",
            fix=f"Ask the operator to run {install_command(EXTRA)}; or call with train=false to upload and "
            "label only.",
            retryable=False,
            details={"missing": list(missing), "install": install_command(EXTRA)},
        )


def credit_skip(studio: Studio, principal: Principal, request: PipelineRequest) -> str | None:
    """Why nothing paid is begun, before anything is set aside; None when it may."""
    least = request.min_credits
    if least is None or not (request.annotate or request.train):
        return None
    available = studio.ledger.available(principal)
    if available >= least:
        return None
    credits = "1 credit is" if available == 1 else f"{available} credits are"
    return f"{credits} left, and min_credits asks for {least}: nothing was labelled or trained."


def nobody_finds(
    studio: Studio, principal: Principal, request: PipelineRequest, check: Callable[[], None]
) -> bool:
    """Whether it is known that no engine can find any of the classes, so that all ends with the upload."""
    dataset = studio.datasets.find(principal, request.dataset)
    if dataset is None:  # nothing to learn from
        settings = studio.detectors.settings
        return settings.model is None and settings.api is None
    return not studio.detectors.survey(dataset, {n: n for n in request.names}, check).engines


def set_aside(studio: Studio, call_id: str | None) -> int:
    """Credits that are held for a call."""
    with studio.database.read() as connection:
        query = sa.select(holds.c.amount).where(holds.c.call_id == call_id)
        return int(connection.execute(query).scalar() or 0)


@dataclass(frozen=True, slots=True)
class Begun:
    """What a pipeline has come to when its pictures are in the dataset."""

    job: Job | None
    """That does the rest; None when there is nothing more to do, or it stopped."""
    stopped_at: Phase | None = None
    credit_skip_reason: str | None = None
    annotate_error: dict[str, str] | None = None


def begin(
    studio: Studio,
    principal: Principal,
    request: PipelineRequest,
    upload: Mapping[str, Any],
    check: Callable[[], None] = lambda: None,
) -> Begun:
    """Start the job for a dataset whose pictures are uploaded, in the caller's transaction, who hands the
    hold of the call over to it. ``upload`` is kept for the report.

    Raises what ``foresee`` raises, ``NotFound`` (``dataset_not_found``), and ``Conflict`` (``price_changed``)
    when there is more to do than was quoted.
    """
    dataset = studio.datasets.get(principal, request.dataset)
    if dataset.image_count == 0:
        return Begun(None, "upload")
    if not (request.annotate or request.train):
        return Begun(None)
    foreseen = foresee(studio, principal, request)
    unpaid = foreseen.credits > 0 and not set_aside(studio, principal.call_id)
    reason = credit_skip(studio, principal, request) if unpaid else None
    if reason is not None:
        return Begun(None, "credits", reason)
    if foreseen.images:
        try:
            studio.detectors.survey(dataset, {n: n for n in request.names}, check).require(dataset.name)
        except Unavailable as error:
            return Begun(None, "annotate", annotate_error=error_as_json(error))
    if unpaid:
        raise Conflict(
            f"The work has grown since it was quoted: it takes {foreseen.credits} credits now.",
            code="price_changed",
            fix="Send the call again; what was uploaded stays.",
            retryable=True,
        )
    args = {
        "request": request.as_json(),
        "meant": foreseen.images,
        "images": dataset.image_count,
        "upload": dict(upload),
    }
    return Begun(studio.jobs.start(principal, KIND, args))
