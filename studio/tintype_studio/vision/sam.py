"""Prompts answered by a SAM-family model, through ``transformers``; an extra, with weights of the user's own.

Models: SAM ("Segment Anything", Kirillov et al., 2023), SAM 2 (Ravi et al., 2024) for single images, and the
tracker half of SAM 3. The picture is prepared here with Pillow and numpy, so that torchvision is not needed.
Encoding a picture is nearly all of the work, so the last pictures' embeddings are kept: a further prompt on
one of them only costs the decoder.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tintype_studio.vision.protocols import DIFFERENT, Box, Point, Segment, require_points
from tintype_studio.vision.sam_weights import Family, open_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

CACHE_BYTES = 256 * 1024 * 1024
NEAR = 1.5
"""Pixels of the model's own mask by which a click may miss and still be counted as on its side."""


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """A picture as the model sees it: embeddings, and how many of its pixels one of the image's makes."""

    embeddings: Any
    """A tensor, or a list of tensors from coarse to fine."""
    scale: tuple[float, float]
    size: tuple[int, int]
    """Width and height of the image."""

    @property
    def nbytes(self) -> int:
        tensors = self.embeddings if isinstance(self.embeddings, list) else [self.embeddings]
        return sum(int(tensor.nbytes) for tensor in tensors)


class Recent:
    """Encoded pictures by their content, the least recently used going first; at most ``limit`` bytes."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, _Encoded] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> _Encoded | None:
        """What is kept under a key; it becomes the most recent."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: bytes, encoded: _Encoded) -> None:
        """Keep it, if it is not too large on its own."""
        if encoded.nbytes > self._limit:
            return
        self._kept[key] = encoded
        self.nbytes += encoded.nbytes
        while self.nbytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self.nbytes -= dropped.nbytes


class SamSegmenter:
    """A ``PromptSegmenter`` over one model. Thread-safe: prompts take turns.

    ``model`` is a local folder or a hub id. Raises Unavailable, with what to do, if the extra is not
    installed, if there are no such weights, or if they are not of this family.
    """

    def __init__(self, model: str, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._family, self._model, self._device = open_weights(model)
        self.recent = Recent(cache_bytes)
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        """``sam``, ``sam2`` or ``sam3``."""
        return self._family.name

    def segment_box(self, image: Image, box: Box, negative_boxes: Sequence[Box] = ()) -> Segment | None:
        """See ``PromptSegmenter.segment_box``. What is inside ``negative_boxes`` is cut off the mask."""
        from tintype_studio.vision.graph_cut import require_rgb

        require_rgb(image)
        height, width = image.shape[:2]
        target = box.clipped(width, height)
        for other in negative_boxes:
            other.require_area()
        negatives = [Point(b.x + b.w / 2, b.y + b.h / 2) for b in negative_boxes]
        seen = [p for p in negatives if 0 <= p.x < width and 0 <= p.y < height]
        found = self._predict(image, [], seen, target)
        if not found:
            return None
        mask, offset, score = found[0]
        for b in negative_boxes:
            left, top = math.floor(b.x) - offset[0], math.floor(b.y) - offset[1]
            right, bottom = math.ceil(b.x + b.w) - offset[0], math.ceil(b.y + b.h) - offset[1]
            mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = False
        return _tight(mask, offset, score)

    def segment_points(
        self, image: Image, positives: Sequence[Point], negatives: Sequence[Point] = ()
    ) -> list[Segment]:
        """See ``PromptSegmenter.segment_points``. A mask that contradicts a click is left out."""
        from tintype_studio.vision.graph_cut import require_rgb

        require_rgb(image)
        height, width = image.shape[:2]
        require_points(positives, negatives, width, height)
        segments: list[Segment] = []
        reach = NEAR * max(width, height) / self._family.mask_side
        for mask, offset, score in self._predict(image, positives, negatives, None):
            if not _obeys(mask, offset, positives, negatives, reach):
                continue
            segment = _tight(mask, offset, score)
            if segment is not None:
                segments.append(segment)
        segments.sort(key=lambda segment: -segment.score)
        chosen: list[Segment] = []
        for segment in segments:
            if all(segment.iou(other) < DIFFERENT for other in chosen):
                chosen.append(segment)
        return chosen

    def _predict(
        self, image: Image, positives: Sequence[Point], negatives: Sequence[Point], box: Box | None
    ) -> list[tuple[Mask, tuple[int, int], float]]:
        """Masks on a part of the image, with its place and the model's own estimate of their IoU."""
        import torch

        with self._turn, torch.inference_mode():
            encoded = self._encoded(image)
            across, down = encoded.scale
            prompt: dict[str, Any] = {}
            points = [*positives, *negatives]
            if points:
                # The models count from pixel centres.
                places = [[p.x * across - 0.5, p.y * down - 0.5] for p in points]
                labels = [1] * len(positives) + [0] * len(negatives)
                prompt["input_points"] = torch.tensor([[places]], device=self._device)
                prompt["input_labels"] = torch.tensor([[labels]], device=self._device)
            if box is not None:
                corners = [box.x * across, box.y * down, (box.x + box.w) * across, (box.y + box.h) * down]
                prompt["input_boxes"] = torch.tensor([[[c - 0.5 for c in corners]]], device=self._device)
            answer = self._model(
                image_embeddings=encoded.embeddings,
                # One click may mean several things; with more, the models' single mask is the better one.
                multimask_output=box is None and len(points) == 1,
                **prompt,
            )
            logits = answer.pred_masks[0, 0].float().cpu().numpy()
            scores = answer.iou_scores[0, 0].float().cpu().tolist()
        found = []
        for plane, score in zip(logits, scores, strict=True):
            placed = _at_full_size(plane, encoded, self._family.side(self._model))
            if placed is not None:
                found.append((*placed, min(max(float(score), 0.0), 1.0)))
        return found

    def _encoded(self, image: Image) -> _Encoded:
        import numpy as np
        import torch

        pixels = np.ascontiguousarray(image)
        key = hashlib.blake2b(pixels.data, digest_size=16, person=repr(image.shape).encode()[:16]).digest()
        kept = self.recent.get(key)
        if kept is None:
            side = self._family.side(self._model)
            prepared, scale = prepare(pixels, self._family, side)
            values = torch.from_numpy(prepared).to(self._device)
            embeddings = self._model.get_image_embeddings(values)
            kept = _Encoded(embeddings, scale, (image.shape[1], image.shape[0]))
            self.recent.put(key, kept)
        return kept


def prepare(image: Image, family: Family, side: int) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """An (H, W, 3) uint8 picture as the model takes it: (1, 3, side, side), and the scale across and down."""
    import numpy as np
    from PIL import Image as PILImage

    height, width = image.shape[:2]
    if family.keeps_shape:
        factor = side / max(height, width)
        columns, rows = int(width * factor + 0.5), int(height * factor + 0.5)
    else:
        columns = rows = side
    columns, rows = max(columns, 1), max(rows, 1)
    small = PILImage.fromarray(image).resize((columns, rows), PILImage.Resampling.BILINEAR)
    values = (np.asarray(small, dtype=np.float32) / 255 - family.mean) / family.spread
    padded = np.zeros((1, 3, side, side), np.float32)
    padded[0, :, :rows, :columns] = values.transpose(2, 0, 1)
    return padded, (columns / width, rows / height)


def _at_full_size(
    logits: NDArray[np.float32], encoded: _Encoded, side: int
) -> tuple[Mask, tuple[int, int]] | None:
    """The mask in pixels of the image: only the part where there is any, and its place."""
    import cv2
    import numpy as np

    from tintype_studio.vision.graph_cut import cleaned

    width, height = encoded.size
    across = encoded.scale[0] * logits.shape[1] / side
    down = encoded.scale[1] * logits.shape[0] / side
    positive = logits > 0
    columns, rows = np.flatnonzero(positive.any(axis=0)), np.flatnonzero(positive.any(axis=1))
    if not len(columns):
        return None
    left, right = _span(columns, across, width)
    top, bottom = _span(rows, down, height)
    if left >= right or top >= bottom:
        return None
    matrix = np.array([[across, 0, (left + 0.5) * across - 0.5], [0, down, (top + 0.5) * down - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = right - left, bottom - top
    full = cv2.warpAffine(logits, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = np.asarray(full > 0)
    return (cleaned(mask), (left, top)) if mask.any() else None


def _span(places: NDArray[np.intp], scale: float, length: int) -> tuple[int, int]:
    """First and last pixel of the image, exclusive, that a run of the model's pixels can reach."""
    first, last = (int(places[0]) - 1) / scale, (int(places[-1]) + 2) / scale
    return max(0, math.floor(first)), min(length, math.ceil(last))


def _obeys(
    mask: Mask, offset: tuple[int, int], positives: Sequence[Point], negatives: Sequence[Point], reach: float
) -> bool:
    """Whether every click is on its side, or nearly; then the mask is mended around it, in place."""
    import cv2
    import numpy as np

    radius = math.ceil(reach)
    height, width = mask.shape
    drawn = mask.astype(np.uint8)
    for points, side in ((negatives, 0), (positives, 1)):
        for point in points:
            x, y = math.floor(point.x) - offset[0], math.floor(point.y) - offset[1]
            inside = 0 <= x < width and 0 <= y < height
            if not inside:
                if side:
                    return False
                continue
            if bool(mask[y, x]) == bool(side):
                continue
            around = mask[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            if not (around == bool(side)).any():
                return False
            cv2.circle(drawn, (x, y), radius, side, cv2.FILLED)
    for point in positives:
        x, y = math.floor(point.x) - offset[0], math.floor(point.y) - offset[1]
        drawn[y, x] = 1
    for point in negatives:
        x, y = math.floor(point.x) - offset[0], math.floor(point.y) - offset[1]
        if 0 <= x < width and 0 <= y < height:
            drawn[y, x] = 0
    mask[:] = drawn.astype(np.bool_)
    return True


def _tight(mask: Mask, offset: tuple[int, int], score: float) -> Segment | None:
    import numpy as np

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    x, y = int(columns[0]), int(rows[0])
    part = np.ascontiguousarray(mask[y : int(rows[-1]) + 1, x : int(columns[-1]) + 1])
    return Segment(part, (offset[0] + x, offset[1] + y), score)
