"""Detection by any name with an open-vocabulary model, through ``transformers``; an extra (``openvocab``).

Models: OWL-ViT and OWLv2 (Minderer et al., 2022 and 2023), Grounding DINO (Liu et al., 2023) and its MM
variant, and the text half of SAM 3. Pictures are prepared here with Pillow and numpy, so that torchvision
is not needed. A model's own score says how sure it is in its own terms; it is shifted so that the score at
which its authors call a box found becomes one half. That is an order of likelihood, not a measured chance.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.vision.detect.open_weights import (
    GROUNDING_DINO,
    MM_GROUNDING_DINO,
    OWL_VIT,
    OWLV2,
    Family,
    open_weights,
)
from tintype_studio.vision.detect.protocol import Detection
from tintype_studio.vision.protocols import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Scored = tuple[NDArray[np.float64], NDArray[np.float64]]

CLIP_MEAN, CLIP_SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
SHORT_SIDE, LONG_SIDE = 800, 1333
"""Pixels: Grounding DINO's pictures have this shorter side, unless the longer one would be over."""
OWL_TOKENS, SAM_TOKENS = 16, 32
SAME_OBJECT = 0.5
"""Intersection over union from which two boxes of a name are one object."""


class OpenVocabularyDetector:
    """A ``Detector`` over one model. Thread-safe: pictures take turns.

    ``model`` is a local folder or a hub id. Raises Unavailable, with what to do, if it cannot be opened.
    """

    def __init__(self, model: str) -> None:
        self._family, self._model, self._tokenizer, _, self._device = open_weights(model)
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        """``owlv2``, ``grounding-dino``, ``sam3`` …"""
        return self._family.name

    def detect(
        self, image: Image, names: Sequence[str], *, threshold: float, max_detections: int
    ) -> list[Detection]:
        """See ``Detector``."""
        import torch

        from tintype_studio.vision.detect.boxes import within
        from tintype_studio.vision.graph_cut import require_rgb

        require_rgb(image)
        names = list(dict.fromkeys(names))
        height, width = image.shape[:2]
        with self._turn, torch.inference_mode():
            answers = self._ask(image, names)
        found: list[Detection] = []
        for name, (boxes, raw) in zip(names, answers, strict=True):
            found += _kept(name, within(boxes, width, height), shifted(raw, self._family), threshold)
        found.sort(key=lambda detection: -detection.score)
        return found[:max_detections]

    def _ask(self, image: Image, names: list[str]) -> list[Scored]:
        """For every name, boxes (n, 4) in pixels of the image and the model's scores (n,)."""
        match self._family:
            case family if family in {OWL_VIT, OWLV2}:
                return self._owl(image, names)
            case family if family in {GROUNDING_DINO, MM_GROUNDING_DINO}:
                return self._dino(image, names)
            case _:
                return self._sam(image, names)

    def _owl(self, image: Image, names: list[str]) -> list[Scored]:
        side = int(self._model.config.vision_config.image_size)
        height, width = image.shape[:2]
        squared = self._family == OWLV2
        pixels = prepare_owl(image, side, pad=squared)
        tokens = self._tokenizer(
            [f"a photo of a {name}" for name in names],
            padding="max_length",
            truncation=True,
            max_length=OWL_TOKENS,
            return_tensors="pt",
        )
        answer = self._model(
            input_ids=tokens["input_ids"].to(self._device),
            attention_mask=tokens["attention_mask"].to(self._device),
            pixel_values=self._tensor(pixels),
        )
        scale = (max(height, width),) * 2 if squared else (width, height)
        boxes = corners(_numbers(answer.pred_boxes[0]), *scale)
        scores = _numbers(answer.logits[0].sigmoid())
        return [(boxes, scores[:, k]) for k in range(len(names))]

    def _dino(self, image: Image, names: list[str]) -> list[Scored]:
        import torch

        text = " ".join(f"{name.lower().replace('.', ' ')}." for name in names)
        tokens = self._tokenizer(
            text, return_tensors="pt", return_offsets_mapping=True, truncation=True, max_length=256
        )
        offsets = tokens.pop("offset_mapping")[0].tolist()
        pixels = prepare_dino(image)
        mask = torch.ones((1, *pixels.shape[-2:]), dtype=torch.int64, device=self._device)
        answer = self._model(
            pixel_values=self._tensor(pixels),
            pixel_mask=mask,
            **{key: value.to(self._device) for key, value in tokens.items()},
        )
        height, width = image.shape[:2]
        boxes = corners(_numbers(answer.pred_boxes[0]), width, height)
        scores = _numbers(answer.logits[0].sigmoid())
        found, start = [], 0
        for name in names:
            end = start + len(name.lower())
            own = [k for k, (a, b) in enumerate(offsets) if b > a >= start and b <= end]
            best = scores[:, own].max(axis=1) if own else scores[:, 0] * 0
            found.append((boxes, best))
            start = end + 2
        return found

    def _sam(self, image: Image, names: list[str]) -> list[Scored]:
        height, width = image.shape[:2]
        encoded = self._model.get_vision_features(pixel_values=self._tensor(prepare_sam(image, self._model)))
        found = []
        for name in names:
            tokens = self._tokenizer(
                name, padding="max_length", truncation=True, max_length=SAM_TOKENS, return_tensors="pt"
            )
            answer = self._model(
                vision_embeds=encoded,
                input_ids=tokens["input_ids"].to(self._device),
                attention_mask=tokens["attention_mask"].to(self._device),
            )
            scores = answer.pred_logits[0].sigmoid()
            if answer.presence_logits is not None:
                scores = scores * answer.presence_logits[0].sigmoid()
            boxes = _numbers(answer.pred_boxes[0]) * (width, height, width, height)
            found.append((boxes, _numbers(scores)))
        return found

    def _tensor(self, pixels: NDArray[np.float32]) -> Any:
        import torch

        return torch.from_numpy(pixels).to(self._device)


def _kept(
    name: str, boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> list[Detection]:
    """Boxes of one name with a high enough score, each object once."""
    import numpy as np

    from tintype_studio.vision.detect.boxes import suppress

    sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    likely = (scores >= threshold) & (sides >= 1)
    boxes, scores = boxes[likely], scores[likely]
    found = []
    for k in suppress(boxes, scores, SAME_OBJECT, len(boxes)):
        left, top, right, bottom = (round(float(v), 1) for v in boxes[k])
        box = Box(left, top, round(right - left, 1), round(bottom - top, 1))
        found.append(Detection(name, box, round(float(scores[k]), 4)))
    return found


def shifted(raw: NDArray[np.float64], family: Family) -> NDArray[np.float64]:
    """Scores moved in their logit so that the family's usual threshold becomes one half."""
    import numpy as np

    clipped = np.clip(np.nan_to_num(raw), 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped)) - math.log(family.usual / (1 - family.usual))
    return np.asarray(1 / (1 + np.exp(-logit)))


def corners(boxes: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    """Boxes (centre x, centre y, w, h) in shares of a picture as (left, top, right, bottom) in its pixels."""
    import numpy as np

    x, y, w, h = boxes.T
    return np.stack(
        [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height], axis=1
    )


def prepare_owl(image: Image, side: int, *, pad: bool) -> NDArray[np.float32]:
    """(1, 3, side, side); ``pad`` to a square with black below and to the right, as OWLv2 wants it."""
    import numpy as np

    if pad:
        longest = max(image.shape[:2])
        square = np.zeros((longest, longest, 3), np.uint8)
        square[: image.shape[0], : image.shape[1]] = image
        image = square
    return _normalised(image, (side, side), CLIP_MEAN, CLIP_SPREAD, bicubic=not pad)


def prepare_dino(image: Image) -> NDArray[np.float32]:
    """(1, 3, height, width), scaled to a shorter side of ``SHORT_SIDE`` pixels."""
    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    if SHORT_SIDE * long / short > LONG_SIDE:
        short, long = max(32, round(LONG_SIDE * short / long)), LONG_SIDE
    else:
        short, long = SHORT_SIDE, int(SHORT_SIDE * long / short)
    size = (short, long) if width < height else (long, short)
    return _normalised(image, size, IMAGENET_MEAN, IMAGENET_SPREAD)


def prepare_sam(image: Image, model: Any) -> NDArray[np.float32]:
    """(1, 3, side, side), squeezed to the side that the model was made for."""
    side = model.config.vision_config.backbone_config.image_size
    side = int(side if isinstance(side, int) else side[0])
    return _normalised(image, (side, side), HALF, HALF)


def _normalised(
    image: Image,
    size: tuple[int, int],
    mean: Sequence[float],
    spread: Sequence[float],
    *,
    bicubic: bool = False,
) -> NDArray[np.float32]:
    import numpy as np
    from PIL import Image as PILImage

    resample = PILImage.Resampling.BICUBIC if bicubic else PILImage.Resampling.BILINEAR
    scaled = np.asarray(PILImage.fromarray(image).resize(size, resample), np.float32) / 255
    scaled = (scaled - np.asarray(mean, np.float32)) / np.asarray(spread, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def _numbers(tensor: Any) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(tensor.detach().float().cpu().numpy(), np.float64)
