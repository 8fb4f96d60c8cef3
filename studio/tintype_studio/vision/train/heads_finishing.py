"""From the best weights of attribute heads to their ONNX file: checked, and measured on unseen objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.crops import crop_of
from tintype_studio.vision.evaluate.attributes import AttributesEvaluator, accuracy_metrics
from tintype_studio.vision.heads import METADATA_KEY, HeadsSignature
from tintype_studio.vision.infer.heads import BATCH, Heads
from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train import checkpoint as checkpoints
from tintype_studio.vision.train.export_onnx import export
from tintype_studio.vision.train.nets.object_options import Exportable, ObjectOptions
from tintype_studio.vision.train.nets.pyramid import parameters
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.session import Finished, Order, StoredFile

if TYPE_CHECKING:
    from tintype_studio.vision.train.patches import Patches

SAMPLES = 8
"""Objects on which the outputs of torch and ONNX Runtime are compared."""
SPLITS = ("test", "val", "train")


def with_heads(order: Order, data: PreparedData, finished: Finished, checkpoint: str) -> Finished:
    """The model with the heads of a checkpoint, their file and their figures."""
    assert data.patches is not None
    blobs = Blobs(order.blob_url)
    kept = checkpoints.load(blobs, checkpoint)
    signature = HeadsSignature.from_json(kept["signature"])
    module = ObjectOptions(signature.outputs)
    module.load_state_dict(kept["best"]["weights"])
    split, indices = next((s, found) for s in SPLITS if (found := data.patches_of(s)))
    crops = _crops(data.patches, [*indices, *data.patches_of("train")][:SAMPLES], signature.size)
    samples = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
    if len(samples) == 1:
        samples = np.concatenate([samples, samples])
    as_classes = Signature(
        Task.CLASSIFICATION, order.pipeline, tuple(map(str, range(signature.outputs))), signature.size
    )
    exported = export(Exportable(module), as_classes, samples)
    file = _described(exported.data, signature)
    figures = _measured(Heads.from_bytes(file), data.patches, indices)
    metrics = accuracy_metrics(figures)
    evaluation = orjson.loads(blobs.get(finished.evaluation.sha256)) | {"attributes": figures}
    evaluation["metrics"] |= metrics
    notes = []
    if split != finished.evaluated_on:
        notes.append(f"The figures of the attributes are of objects of the {split} images.")
    return replace(
        finished,
        evaluation=_stored(blobs, orjson.dumps(evaluation)),
        metrics={**finished.metrics, **metrics},
        notes=(*finished.notes, *notes),
        heads=_stored(blobs, file),
        attributes=signature.attributes,
        heads_card={
            "objects": data.prepared.attributes,
            "parameters": parameters(module),
            "best_epoch": kept["best"]["number"],
            "evaluated_on": split,
            "onnx_check": {"exporter": exported.exporter, "max_difference": exported.difference},
        },
    )


def _measured(heads: Heads, patches: Patches, indices: Sequence[int]) -> list[dict[str, Any]]:
    judge = AttributesEvaluator(heads.signature, with_found=False)
    for start in range(0, len(indices), BATCH):
        part = indices[start : start + BATCH]
        names = [patches.names[index] for index in part]
        answers = heads.read(_crops(patches, part, heads.signature.size), names)
        for index, name, choices in zip(part, names, answers, strict=True):
            judge.add(name, patches.options(index), choices)
    return judge.result()


def _crops(patches: Patches, indices: Sequence[int], size: int) -> NDArray[np.uint8]:
    return np.stack([crop_of(patches.pixels(index), patches.boxes[index], size) for index in indices])


def _described(data: bytes, signature: HeadsSignature) -> bytes:
    """The file with the heads' metadata in place of that of a model."""
    import onnx

    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, {METADATA_KEY: orjson.dumps(signature.as_json()).decode()})
    return bytes(model.SerializeToString())


def _stored(blobs: Blobs, data: bytes) -> StoredFile:
    return StoredFile(blobs.put(data), len(data))
