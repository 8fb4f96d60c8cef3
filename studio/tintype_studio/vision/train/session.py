"""What the job of a training run calls in its child process: prepare, epoch after epoch, finish.

All calls of one run go to one process, which keeps the module between them; if that process is gone, the next
call goes on from the last checkpoint. Importing this module loads nothing heavy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tintype_studio.vision.train.config import TrainConfig
from tintype_studio.vision.train.pipelines import Pipeline, pipeline_of
from tintype_studio.vision.train.weights import Weights


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained. Pickles."""

    run_id: str
    blob_url: str
    """Of ``Blobs``."""
    export_sha256: str
    pipeline: str
    config: TrainConfig
    work_dir: str
    """A local folder of this run; may be emptied between calls."""
    class_filter: tuple[str, ...] | None = None
    """Names of the classes to learn; None: all."""
    history: tuple[dict[str, Any], ...] = ()
    """Metrics of the epochs so far."""
    weights: Weights | None = None
    """What ``config.pretrained`` stands for; None: a trainer reads that as it is."""
    attributes: dict[str, dict[str, list[str]]] | None = None
    """Attributes to learn, by class, with the options that the dataset declares; only of found objects."""

    def of_pipeline(self) -> Pipeline:
        """The pipeline."""
        return pipeline_of(self.pipeline)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What there is to learn from."""

    classes: tuple[str, ...]
    """In the order of the model's outputs."""
    images: dict[str, int]
    """Of ``train``, ``val`` and ``test``."""
    objects: dict[str, int]
    """The same, of annotations (of images with a class, for classification)."""
    per_class: dict[str, dict[str, int]]
    """Of each class, its objects by split."""
    multi_label: bool
    notes: tuple[str, ...]
    """Sentences: what was left out and why."""
    drafts: int = 0
    """Annotations that are learned from, and that nobody has reviewed."""
    attributes: dict[str, dict[str, dict[str, dict[str, int]]]] = field(default_factory=dict)
    """What attribute heads will learn: by class, attribute and option, the objects by split."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "classes": list(self.classes), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Prepared:
        """What ``as_json`` gave."""
        return cls(**{**found, "classes": tuple(found["classes"]), "notes": tuple(found["notes"])})


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What an epoch brought. Its checkpoint is stored."""

    number: int
    """From 1."""
    metrics: dict[str, float]
    """``train_loss``, each loss by its name as ``train_<name>``, ``learning_rate``; after a validation, its
    metrics as ``val_<name>``.
    """
    seconds: float
    images_per_second: float
    data_share: float
    """Of the time of the training steps, waiting for images; 0 to 1."""
    batch_size: int
    """To go on with; smaller than asked when memory ran out."""
    best: bool
    """Whether its weights are the best so far."""
    stop: bool
    """Whether there is nothing more to train: the last epoch, early stopping, or out of time."""
    out_of_time: bool
    checkpoint: str
    """Key for ``Blobs.get_derived``."""
    initialization: str
    architecture: str
    parameters: int
    device: str
    """``cpu``, or the name of the GPU."""
    peak_memory_bytes: int
    """Of the process, and on CUDA of the GPU, whichever is more."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeadsReport:
    """What an epoch of the attribute heads brought. Its checkpoint is stored."""

    number: int
    """From 1."""
    metrics: dict[str, float]
    """``train_loss``, ``val_loss`` and ``val_accuracy`` (0 to 1, of all attributes of all objects)."""
    seconds: float
    batch_size: int
    """To go on with."""
    best: bool
    """Whether its weights are the best so far."""
    stop: bool
    """Whether there is nothing more to train."""
    checkpoint: str
    """Key for ``Blobs.get_derived``."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Bytes in ``Blobs``, by their digest."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The model. All its files are stored."""

    signature: dict[str, Any]
    """``Signature`` as JSON."""
    onnx: StoredFile
    checkpoint: StoredFile
    """``state_dict`` and signature; ``torch.load(weights_only=True)`` reads it."""
    evaluation: StoredFile
    """``Evaluation`` as JSON, of the test images."""
    pictures: dict[str, StoredFile]
    """PNG: ``pr_curves`` and ``confusion`` where the task has them."""
    metrics: dict[str, float]
    """Of the test images."""
    evaluated_on: str
    """``test``, or ``val`` where there is no test image of its own."""
    best_epoch: int
    onnx_check: dict[str, Any]
    """``max_difference`` of the outputs from torch's, its ``tolerance``, ``metric`` of both, ``speedup``."""
    initialization: str
    architecture: str
    parameters: int
    notes: tuple[str, ...] = field(default=())
    splits_sha256: str | None = None
    """JSON: the split of each image by its id, for later evaluations on the same dataset."""
    heads: StoredFile | None = None
    """The ONNX file of the attribute heads, if any were trained."""
    attributes: dict[str, dict[str, list[str]]] | None = None
    """What they may choose."""
    heads_card: dict[str, Any] | None = None
    """For the model's card: how they were trained and how good they are."""


def prepare(order: Order) -> Prepared:
    """Read the export and lay the images out for training; kept in ``order.work_dir`` for the next call.

    Raises ``InvalidInput`` (``too_few_images``, ``no_annotations``, ``wrong_export``), ``NotFound``
    (``blob_missing``) and ``Unavailable`` (``disk_full``).
    """
    from tintype_studio.vision.train.running import load_ahead, prepared_data

    prepared = prepared_data(order).prepared
    load_ahead(order)
    return prepared


def epoch(
    order: Order, number: int, checkpoint: str | None, seconds_left: float, batch_size: int
) -> EpochReport:
    """Train epoch ``number`` (from 1), validate, and store a checkpoint.

    Goes on from the module in memory where that stands at ``number - 1``, else from ``checkpoint``, else
    (the first epoch) from the start. ``seconds_left`` is what training may take from now on; the epoch ends
    early when it is over.

    Raises ``InvalidInput`` (``training_diverged``) and ``Unavailable`` (``needs_weights``,
    ``out_of_memory``, ``checkpoint_missing``, ``storage_failed``, ``extra_missing``).
    """
    from tintype_studio.vision.train.running import run_epoch

    return run_epoch(order, number, checkpoint, seconds_left, batch_size)


def heads_epoch(
    order: Order, number: int, checkpoint: str | None, seconds_left: float, batch_size: int
) -> HeadsReport:
    """Train epoch ``number`` (from 1) of the attribute heads, validate, and store a checkpoint; as ``epoch``
    goes on and raises.
    """
    from tintype_studio.vision.train.running import run_heads_epoch

    return run_heads_epoch(order, number, checkpoint, seconds_left, batch_size)


def finish(order: Order, checkpoint: str, heads_checkpoint: str | None = None) -> Finished:
    """Make the model of a run out of the best weights in ``checkpoint``, and its attribute heads out of those
    in the other one: evaluated, exported and checked.
    """
    from tintype_studio.vision.train.running import finish_run

    return finish_run(order, checkpoint, heads_checkpoint)
