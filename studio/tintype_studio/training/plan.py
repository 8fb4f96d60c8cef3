"""What a training would do and cost, found before it is started: what can be refused is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import STATUS_FILTERS
from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.exports.service import Export, ExportOptions, require_known_classes
from tintype_studio.extras import install_command
from tintype_studio.identity.keys import Principal
from tintype_studio.ledger.prices import PRICES, price_of
from tintype_studio.names import clean_name, lookup_name, printable
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.tables import samples
from tintype_studio.training.outlines import require_outlines
from tintype_studio.training.weights import weights_of
from tintype_studio.vision.heads import ATTRIBUTE_TASKS
from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train.config import TrainConfig, read_config
from tintype_studio.vision.train.pipelines import Pipeline, pipeline_of
from tintype_studio.vision.train.requirements import FORMAT, check_export
from tintype_studio.vision.train.weights import Weights

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

MAX_NAME = 100
"""Characters of a run's name, which is its model's, too."""

LIBRARIES = ("torch", "transformers", "onnx", "onnxscript", "scipy")
"""What the extra brings."""
EXTRA = "train"

_BEFORE, _AFTER = "training_", "_per_minute"
GPUS = tuple(s.removeprefix(_BEFORE).removesuffix(_AFTER) for s in PRICES if s.startswith(_BEFORE))
"""Price tiers. What a run really works on is told in the run."""


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What is asked for."""

    dataset: str
    pipeline: str
    gpu: str = GPUS[0]
    name: str | None = None
    """Of the run and of its model; None for one made of pipeline and time."""
    config: Mapping[str, Any] = field(default_factory=dict)
    export: str | None = None
    """Train on this export; None to make one."""
    class_filter: tuple[str, ...] | None = None
    status_filter: str = "complete"
    """Of the export that is made: a key of ``STATUS_FILTERS``."""
    local_weights: str | None = None
    """Where ``config.pretrained`` really leads, if it is a path that the caller may read."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values: the arguments of the job."""
        return {**asdict(self), "config": dict(self.config)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TrainRequest:
        """What ``as_json`` gave."""
        names = found["class_filter"]
        return cls(**{**found, "class_filter": None if names is None else tuple(names)})


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """What a training would do."""

    dataset: Dataset
    pipeline: Pipeline
    config: TrainConfig
    notes: list[str]
    """About keys of the configuration that were ignored."""
    export: Export | None
    """None when one will be made."""
    name: str | None
    class_filter: list[str] | None
    images: int
    operation: str
    """Slug of the price."""
    credits: int
    """For all the minutes that it may take."""
    weights: Weights | None
    """To start from; None at random."""
    attributes: dict[str, dict[str, list[str]]]
    """To learn of the objects, by class, with their options."""


def plan_training(studio: Studio, principal: Principal, request: TrainRequest) -> TrainPlan:
    """Check a request against what is there; starts nothing.

    Raises ``InvalidInput`` (``unknown_pipeline``, ``unknown_gpu``, ``invalid_config``, ``invalid_name``,
    ``unknown_class``, ``wrong_export``, ``too_few_images``, ``no_annotations``), ``NotFound``
    (``dataset_not_found``, ``export_not_found``, ``no_matching_images``), ``Unavailable``
    (``needs_extra``), and what ``weights_of`` raises.
    """
    pipeline = pipeline_of(request.pipeline)
    operation = operation_of(request.gpu)
    config, notes = read_config(pipeline, request.config)
    name = None if request.name is None else clean_name(request.name, "Run name", max_length=MAX_NAME)
    dataset = studio.datasets.get(principal, request.dataset)
    classes = None if request.class_filter is None else [lookup_name(c) for c in request.class_filter]
    if classes is not None and not classes:
        raise InvalidInput("class_filter names no class.", fix="Name the classes to learn, or leave it out.")
    require_known_classes(dataset, classes)
    export = None
    if request.export is not None:
        export = studio.exports.get(principal, dataset.name, request.export)
        images = _check_existing(export, pipeline.task)
    else:
        images = _check_images(studio, dataset, pipeline.task, request.status_filter, classes)
        require_outlines(
            studio.database,
            dataset,
            pipeline.task,
            statuses=STATUS_FILTERS[request.status_filter],
            classes=classes,
            drafts=config.drafts,
        )
    weights = weights_of(studio, principal, pipeline.name, config.pretrained, request.local_weights)
    missing = missing_libraries()
    if missing:
        raise Unavailable(
            f"Training needs libraries that are not installed here: {', '.join(missing)}.",
            code="needs_extra",
            fix=f"Ask the operator to run {install_command(EXTRA)}, and to start the server again.",
            retryable=False,
            details={"missing": list(missing), "install": install_command(EXTRA)},
        )
    credits = price_of(operation).total(config.max_minutes)
    attributes = attributes_of(dataset, pipeline.task, classes) if config.attributes else {}
    return TrainPlan(
        dataset,
        pipeline,
        config,
        notes,
        export,
        name,
        classes,
        images,
        operation,
        credits,
        weights,
        attributes,
    )


def attributes_of(dataset: Dataset, task: Task, classes: list[str] | None) -> dict[str, dict[str, list[str]]]:
    """What the classes to learn declare, as ``Order.attributes`` has it; nothing for a task that
    finds no objects.
    """
    if task not in ATTRIBUTE_TASKS:
        return {}
    return {
        each.name: {attribute.name: list(attribute.options) for attribute in each.attributes}
        for each in dataset.classes
        if each.attributes and (classes is None or each.name in classes)
    }


def operation_of(gpu: str) -> str:
    """The slug of a tier's price, or ``InvalidInput`` (``unknown_gpu``) with the tiers."""
    if gpu not in GPUS:
        raise InvalidInput(
            f"GPU {printable(gpu[:40])!r} is unknown.",
            code="unknown_gpu",
            fix=f"Use one of: {', '.join(GPUS)}.",
        )
    return f"{_BEFORE}{gpu}{_AFTER}"


@cache
def missing_libraries() -> tuple[str, ...]:
    """Libraries of the extra ``train`` that this installation lacks; none is imported."""
    return tuple(name for name in LIBRARIES if find_spec(name) is None)


def options_of(class_filter: list[str] | None, status_filter: str) -> ExportOptions:
    """Of the export that a run makes for itself."""
    return ExportOptions(FORMAT, include_images=True, class_filter=class_filter, status_filter=status_filter)


def _check_existing(export: Export, task: Task) -> int:
    if export.status != "completed" or export.sha256 is None:
        raise InvalidInput(
            f"Export {export.name!r} is {export.status}, not completed.",
            code="wrong_export",
            fix="Wait until list_exports shows it completed, or leave export_name out.",
        )
    images = export.image_count or 0
    check_export(
        task,
        images=images,
        format=export.format,
        with_images=export.include_images,
        annotations=None if task is Task.CLASSIFICATION else export.annotation_count,
    )
    return images


def _check_images(
    studio: Studio, dataset: Dataset, task: Task, status_filter: str, classes: list[str] | None
) -> int:
    if status_filter not in STATUS_FILTERS:
        raise InvalidInput(
            f"Status filter {printable(status_filter[:40])!r} is unknown.",
            fix=f"Use one of: {', '.join(STATUS_FILTERS)}.",
        )
    statuses = STATUS_FILTERS[status_filter]
    images = studio.samples.count(dataset, statuses=statuses)
    if images == 0:
        raise NotFound(
            f"Dataset {dataset.name!r} has no image with the status {status_filter}"
            f" ({dataset.image_count} images in all).",
            code="no_matching_images",
            fix="Save or accept annotations, which makes images complete; or choose another status_filter.",
        )
    mine = sa.and_(
        samples.c.dataset_id == dataset.row_id,
        samples.c.deleted_at.is_(None),
        samples.c.status.in_([s.value for s in statuses]),
    )
    query = (
        sa.select(sa.func.coalesce(sa.func.sum(sample_classes.c.count), 0))
        .join(samples, samples.c.id == sample_classes.c.sample_id)
        .where(mine)
    )
    if classes is not None:
        query = query.where(sample_classes.c.name.in_(classes))
    with studio.database.read() as connection:
        annotations = int(connection.execute(query).scalar_one())
    check_export(task, images=images, annotations=None if task is Task.CLASSIFICATION else annotations)
    return images
