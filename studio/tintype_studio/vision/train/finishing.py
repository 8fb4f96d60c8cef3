"""From the best weights of a run to a model: measured on unseen images, exported, checked and stored."""

from __future__ import annotations

import orjson
import torch

from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.evaluate.evaluation import Evaluation
from tintype_studio.vision.tasks import Signature
from tintype_studio.vision.train import checkpoint as checkpoints
from tintype_studio.vision.train.export_onnx import TOLERANCE, export, onnx_answer
from tintype_studio.vision.train.loop import build, trainer_of
from tintype_studio.vision.train.nets.pyramid import parameters
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.session import Finished, Order, StoredFile
from tintype_studio.vision.train.validate import MAIN_METRIC, measure, numbers, pixels, torch_answer

SAMPLES = 4
"""Images on which the outputs of torch and ONNX Runtime are compared."""

METRIC_TOLERANCE = 0.01
"""Of the main metric, between both."""


def finish_training(order: Order, data: PreparedData, checkpoint: str) -> Finished:
    """``session.finish``."""
    blobs = Blobs(order.blob_url)
    kept = checkpoints.load(blobs, checkpoint)
    trainer = trainer_of(order)
    signature = Signature.from_json(kept["signature"])
    module = build(trainer, signature, order, fresh=False).module
    # Without any validation yet, what there is.
    module.load_state_dict(kept["best_weights"] or kept["average"] or kept["module"])
    best_epoch = kept["best_epoch"] or kept["number"]
    asked = trainer.exportable(module).eval()
    split, indices = data.testing
    samples = pixels(data, [*indices, *data.splits["train"]][:SAMPLES])
    exported = export(asked, signature, samples)
    by_torch = measure(torch_answer(asked, torch.device("cpu")), signature, data, indices, original=True)
    by_onnx = measure(onnx_answer(exported.data), signature, data, indices, original=True)
    name = MAIN_METRIC[signature.task]
    metrics = numbers(by_onnx)
    apart = abs(metrics.get(name, 0.0) - numbers(by_torch).get(name, 0.0))
    notes = []
    if apart > METRIC_TOLERANCE:
        notes.append(f"By ONNX Runtime the {name} is {apart:.3f} away from torch's.")
    if split != "test":
        notes.append(f"There were no images for a test of their own; the figures are of the {split} images.")
    weights = checkpoints.weights_bytes(
        {key: value.cpu() for key, value in module.state_dict().items()},
        signature,
        architecture=kept["architecture"],
        initialization=kept["initialization"],
        epoch=best_epoch,
        metrics=metrics,
    )
    return Finished(
        signature=signature.as_json(),
        onnx=_stored(blobs, exported.data),
        checkpoint=_stored(blobs, weights),
        evaluation=_stored(blobs, orjson.dumps(by_onnx.as_json(), option=orjson.OPT_SERIALIZE_NUMPY)),
        pictures={key: _stored(blobs, png) for key, png in _pictures(by_onnx).items()},
        metrics=metrics,
        evaluated_on=split,
        best_epoch=best_epoch,
        onnx_check={
            "exporter": exported.exporter,
            "max_difference": exported.difference,
            "tolerance": TOLERANCE,
            "metric": name,
            "metric_onnx": metrics.get(name),
            "metric_torch": numbers(by_torch).get(name),
            "speedup": round(exported.torch_seconds / max(exported.onnx_seconds, 1e-9), 2),
            "onnx_ms": round(exported.onnx_seconds * 1000, 2),
            "torch_ms": round(exported.torch_seconds * 1000, 2),
        },
        initialization=kept["initialization"],
        architecture=kept["architecture"],
        parameters=parameters(module),
        notes=tuple(notes),
        splits_sha256=blobs.put(orjson.dumps({item.image_id: item.split for item in data.items})),
    )


def _stored(blobs: Blobs, data: bytes) -> StoredFile:
    return StoredFile(blobs.put(data), len(data))


def _pictures(evaluation: Evaluation) -> dict[str, bytes]:
    from tintype_studio.vision.evaluate import plots

    found = {"pr_curves": plots.pr_curves(evaluation), "confusion": plots.confusion(evaluation)}
    return {name: png for name, png in found.items() if png is not None}
