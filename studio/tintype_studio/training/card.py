"""A model's card: how it was made, in data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tintype_studio.training.heads import TrainedHeads
    from tintype_studio.training.run import TrainingRun
    from tintype_studio.vision.train.session import Finished, Prepared
    from tintype_studio.vision.train.weights import Weights


def card_of(
    run: TrainingRun,
    prepared: Prepared,
    finished: Finished,
    notes: Sequence[str],
    weights: Weights | None,
    heads: TrainedHeads | None = None,
) -> dict[str, Any]:
    """As JSON values; times in seconds."""
    return {
        "pipeline": run.pipeline,
        "architecture": finished.architecture,
        "parameters": finished.parameters,
        "initialization": finished.initialization,
        "started_from": None if weights is None else weights.told(),
        "data": {
            "dataset": run.dataset_name,
            "export": run.export_name,
            "class_filter": run.class_filter,
            "status_filter": run.status_filter,
            "images": prepared.images,
            "objects": prepared.objects,
            "drafts": prepared.drafts,
            "per_class": prepared.per_class,
            "multi_label": prepared.multi_label,
        },
        "training": {
            "config": run.config,
            "epochs": run.current_epoch,
            "best_epoch": finished.best_epoch,
            "seconds": round(run.trained_seconds, 1),
            "device": run.facts.get("device"),
            "images_per_second": run.facts.get("images_per_second"),
            "peak_memory_bytes": run.facts.get("peak_memory_bytes"),
        },
        "evaluated_on": finished.evaluated_on,
        "splits_sha256": finished.splits_sha256,
        "onnx_check": finished.onnx_check,
        **_of_heads(finished, heads),
        "notes": list(dict.fromkeys([*run.notes, *notes])),
    }


def _of_heads(finished: Finished, heads: TrainedHeads | None) -> dict[str, Any]:
    """How its attributes were learned, if any were."""
    if finished.heads_card is None or heads is None:
        return {}
    return {"attributes": {**finished.heads_card, "epochs": heads.epochs, "seconds": heads.seconds}}
