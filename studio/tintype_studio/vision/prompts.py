"""Prompted segmentation as a service: from image bytes and a box to an annotation that can be saved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tintype_studio import clock
from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    BoundingBox,
    PolygonAnnotation,
    with_box,
)
from tintype_studio.vision.protocols import Box, PromptSegmenter

TOLERANCE_PX = 1.5
TOLERANCE_SHARE = 0.003
"""Outlines are simplified by at most ``TOLERANCE_PX`` pixels, or this share of the box's longer side."""

Status = Literal["success", "no_detection", "below_threshold"]


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """What a prompt gave. ``score`` estimates the IoU with a careful person's outline; time in seconds."""

    status: Status
    annotations: list[Annotation]
    score: float | None
    inference_time: float


class Prompts:
    """Answers prompts with one engine, made when the first prompt comes."""

    def __init__(self) -> None:
        self._engine: PromptSegmenter | None = None

    @property
    def engine(self) -> PromptSegmenter:
        """The embedded engine: needs no weights."""
        if self._engine is None:
            from tintype_studio.vision.grabcut import GrabCutSegmenter

            self._engine = GrabCutSegmenter()
        return self._engine

    def box(
        self,
        image: bytes,
        box: BoundingBox,
        *,
        name: str,
        threshold: float,
        as_polygon: bool = True,
        negative_boxes: Sequence[BoundingBox] = (),
    ) -> PromptAnswer:
        """The object that fills a box (pixels of the upright image), as one polygon or a tightened box."""
        import numpy as np

        from tintype_studio.media.decode import decode_upright
        from tintype_studio.vision.polygons import mask_to_polygon

        pixels = np.asarray(decode_upright(image))
        started = time.perf_counter()
        segment = self.engine.segment_box(pixels, _as_box(box), [_as_box(b) for b in negative_boxes])
        polygon = None
        if segment is not None:
            tolerance = max(TOLERANCE_PX, TOLERANCE_SHARE * max(box.w, box.h))
            polygon = mask_to_polygon(segment.mask, offset=segment.offset, tolerance=tolerance)
        seconds = round(time.perf_counter() - started, 4)
        if segment is None or polygon is None:
            return PromptAnswer("no_detection", [], None, seconds)
        score = round(segment.score, 4)
        if score < threshold:
            return PromptAnswer("below_threshold", [], score, seconds)
        found = with_box(
            PolygonAnnotation(
                id=clock.new_id(),
                name=name,
                confidence=score,
                created_by=self.engine.name,
                polygon=polygon,
            )
        )
        if not as_polygon and isinstance(found, PolygonAnnotation) and found.bounding_box is not None:
            found = BBoxAnnotation(
                id=found.id,
                name=name,
                confidence=score,
                created_by=self.engine.name,
                bounding_box=found.bounding_box,
            )
        return PromptAnswer("success", [found], score, seconds)


def _as_box(box: BoundingBox) -> Box:
    return Box(box.x, box.y, box.w, box.h)
