"""A model that was trained on a dataset as the engine that finds its classes there.

Its score is shifted so that the one with the best balance of precision and recall on its test images becomes
0.5, as the default threshold of the calls has it: an order of likelihood, not a measured chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tintype_studio.vision.detect.protocol import Detection, Readiness
from tintype_studio.vision.heads import options_of
from tintype_studio.vision.protocols import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tintype_studio.training.models import Model
    from tintype_studio.vision.infer.heads import Heads
    from tintype_studio.vision.infer.model import OnnxModel

ENGINE = "trained_model"
WORTH = 0.2
"""mAP at IoU 0.5 on its test images, below which a model finds too little to go before other engines."""
MOST = 300
"""Objects of all classes that are looked at in one image."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A ready model as plain data, so that another process can open it."""

    id: str
    name: str
    version: str
    onnx_sha256: str
    classes: tuple[str, ...]
    worth: float | None
    """Its mAP at IoU 0.5 on its test images."""
    usual: float | None
    """The score with the best f1 there."""
    heads_sha256: str | None = None
    """Of what chooses attributes, if it learned any."""

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> TrainedModel:
        """What ``asdict`` gave, also after it went through JSON."""
        return cls(**{**found, "classes": tuple(found["classes"])})

    @property
    def author(self) -> str:
        """What its annotations carry in ``created_by``."""
        return author_of(self.name, self.version)


def author_of(name: str, version: str) -> str:
    """A model's name and version, as annotations carry them."""
    return f"{name}@{version}"


def trained_models(models: Sequence[Model]) -> list[TrainedModel]:
    """Those of ``Models.newest_for``, newest first."""
    return [
        TrainedModel(
            each.id,
            each.name,
            each.version,
            each.onnx_sha256,
            each.classes,
            each.metrics.get("mAP_50"),
            each.metrics.get("score_threshold"),
            each.heads_sha256,
        )
        for each in models
        if each.onnx_sha256 is not None
    ]


def trained_readiness(name: str, models: Sequence[TrainedModel]) -> tuple[Readiness, TrainedModel | None]:
    """Whether one of them can find a class: the newest that knows it."""
    model = next((each for each in models if name in each.classes), None)
    if model is None:
        return (
            Readiness(
                ENGINE,
                False,
                f"{models[0].author}, trained on this dataset, does not know {name[:60]!r}.",
                "Label it, and train again with train_pipeline.",
            ),
            None,
        )
    worth = "" if model.worth is None else f" (mAP at IoU 0.5: {model.worth:.2f})"
    if model.worth is not None and model.worth < WORTH:
        return (
            Readiness(
                ENGINE,
                False,
                f"{model.author} finds too little to go first{worth}; predict_dataset asks it all the same.",
                "Train again with train_pipeline, on more labelled images or for longer.",
            ),
            None,
        )
    return Readiness(ENGINE, True, f"{model.author}, trained on this dataset, knows it{worth}."), model


class TrainedDetector:
    """A ``Detector``. Thread-safe."""

    def __init__(self, network: OnnxModel, model: TrainedModel, heads: Heads | None = None) -> None:
        self._network = network
        self._model = model
        self._heads = heads

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return self._model.author

    def detect(
        self, image: NDArray[np.uint8], names: Sequence[str], *, threshold: float, max_detections: int
    ) -> list[Detection]:
        """See ``Detector``; those of a model with masks bring their outline, and those of one with attribute
        heads their options.
        """
        from tintype_studio.vision.graph_cut import require_rgb
        from tintype_studio.vision.infer.shapes import box_of, in_frame, polygon_of

        require_rgb(image)
        pixels, across, down = in_frame(image)
        signature = self._network.signature
        (seen,) = self._network.predict(
            [pixels], threshold=_shifted(threshold, self._model.usual, back=True), max_detections=MOST
        )
        height, width = image.shape[:2]
        detections: list[Detection] = []
        boxes = []
        for found in seen.objects:
            name, score = signature.classes[found.label], round(_shifted(found.score, self._model.usual), 4)
            if name in names and score >= threshold and len(detections) < max_detections:
                told = box_of(found.box, across, down)
                box = Box(told.x, told.y, told.w, told.h).clipped(width, height)
                outline = None if found.mask is None else partial(polygon_of, found, across, down)
                detections.append(Detection(name, box, score, outline))
                boxes.append(found.box)
        if self._heads is None:
            return detections
        chosen = self._heads.choose(pixels, boxes, [each.name for each in detections])
        return [
            replace(each, options=options_of(choices))
            for each, choices in zip(detections, chosen, strict=True)
        ]


def _shifted(score: float, usual: float | None, *, back: bool = False) -> float:
    """The score, moved in its logit so that ``usual`` becomes one half; or the way back."""
    if usual is None or not 0 < usual < 1 or not 0 < score < 1:
        return score
    by = math.log(usual / (1 - usual))
    logit = math.log(score / (1 - score)) + (by if back else -by)
    return 1 / (1 + math.exp(-logit))
