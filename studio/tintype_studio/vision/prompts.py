"""Prompted segmentation as a service: from image bytes and a prompt to an annotation that can be saved."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tintype_studio import clock
from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    BoundingBox,
    PolygonAnnotation,
    with_box,
)
from tintype_studio.errors import TintypeError, Unavailable
from tintype_studio.vision.protocols import Box, Point, PromptSegmenter, Segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

log = logging.getLogger(__name__)

TOLERANCE_PX = 1.5
TOLERANCE_SHARE = 0.003
"""Outlines are simplified by at most ``TOLERANCE_PX`` pixels, or this share of the longer side."""

RETRY_SECONDS = 60.0
"""After a failed download the next prompts are refused at once: trying takes half a minute."""

Status = Literal["success", "no_detection", "below_threshold"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Something else that the prompt may mean: where it is, in whole pixels, and its score."""

    box: BoundingBox
    score: float


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """What a prompt gave.

    ``score`` estimates the IoU with a careful person's outline; ``tolerance`` is how far, in pixels, the
    polygon may be from the mask it was made of. ``withheld`` is what was found below the threshold, in
    the order of ``alternatives``, for a picture of it. Time in seconds.
    """

    status: Status
    annotations: list[Annotation]
    score: float | None
    inference_time: float
    tolerance: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    withheld: list[Annotation] = field(default_factory=list)


class Prompts:
    """Answers prompts with one engine, made when the first prompt comes.

    ``sam_model`` is a local folder or hub id of a SAM-family model; without one the embedded engine answers.
    """

    def __init__(self, sam_model: str | None = None) -> None:
        self._sam_model = sam_model
        self._engine: PromptSegmenter | None = None
        self._opening = threading.Lock()
        self._unreachable: tuple[Unavailable, float] | None = None

    @property
    def engine(self) -> PromptSegmenter:
        """The configured engine, else the embedded one, which needs no weights.

        Raises Unavailable if the configured one cannot be opened: a bad setting must show, and not be
        answered by a weaker engine in silence.
        """
        with self._opening:
            if self._unreachable and time.monotonic() - self._unreachable[1] < RETRY_SECONDS:
                raise self._unreachable[0].with_traceback(None)
            if self._engine is None:
                if self._sam_model is None:
                    from tintype_studio.vision.grabcut import GrabCutSegmenter

                    self._engine = GrabCutSegmenter()
                else:
                    from tintype_studio.vision.sam import SamSegmenter

                    try:
                        self._engine = SamSegmenter(self._sam_model)
                    except Unavailable as error:
                        if error.retryable:
                            self._unreachable = error, time.monotonic()
                        raise
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
        """The object that fills a box (pixels of the upright image), as one polygon or a tightened box.

        Raises InvalidInput for a box wholly outside the image, and Unavailable (``engine_failed``) if the
        engine breaks.
        """
        engine = self.engine
        pixels = _pixels(image)
        started = time.perf_counter()

        def ask() -> list[Segment]:
            found = engine.segment_box(pixels, _as_box(box), [_as_box(b) for b in negative_boxes])
            return [] if found is None else [found]

        return self._answer(ask, started, name=name, threshold=threshold, as_polygon=as_polygon)

    def points(
        self,
        image: bytes,
        positives: Sequence[Point],
        *,
        name: str,
        threshold: float,
        negatives: Sequence[Point] = (),
    ) -> PromptAnswer:
        """The object that the points (pixels of the upright image) are on, as one polygon.

        Raises InvalidInput if a point is outside the image or asked for both ways, and Unavailable
        (``engine_failed``) if the engine breaks.
        """
        engine = self.engine
        pixels = _pixels(image)
        started = time.perf_counter()
        return self._answer(
            lambda: engine.segment_points(pixels, positives, negatives),
            started,
            name=name,
            threshold=threshold,
        )

    def _answer(
        self,
        ask: Callable[[], list[Segment]],
        started: float,
        *,
        name: str,
        threshold: float,
        as_polygon: bool = True,
    ) -> PromptAnswer:
        with self._guarded(passing=(TintypeError,)):
            segments = ask()
        # From here on nothing is the caller's fault any more.
        with self._guarded():
            found, tolerance = self._outlined(segments, name)
        seconds = round(time.perf_counter() - started, 4)
        if not found:
            return PromptAnswer("no_detection", [], None, seconds)
        if not as_polygon:
            found, tolerance = [_as_bbox(annotation) for annotation in found], None
        best = found[0]
        success = best.confidence >= threshold
        rest = found[1:] if success else found
        return PromptAnswer(
            "success" if success else "below_threshold",
            [best] if success else [],
            best.confidence,
            seconds,
            tolerance if success else None,
            tuple(Alternative(_whole(_box_of(a)), a.confidence) for a in rest),
            [] if success else list(found),
        )

    def _outlined(
        self, segments: list[Segment], name: str
    ) -> tuple[list[PolygonAnnotation | BBoxAnnotation], float | None]:
        """Polygons of the segments that are not empty, and the tolerance of the first."""
        from tintype_studio.vision.polygons import mask_to_polygon

        found: list[PolygonAnnotation | BBoxAnnotation] = []
        first: float | None = None
        for segment in segments:
            tolerance = max(TOLERANCE_PX, TOLERANCE_SHARE * max(segment.mask.shape))
            polygon = mask_to_polygon(segment.mask, offset=segment.offset, tolerance=tolerance)
            if polygon is None:
                continue
            if not math.isfinite(segment.score):
                raise ValueError("the engine's score is not a number")
            first = first or round(tolerance, 2)
            annotation = with_box(
                PolygonAnnotation(
                    id=clock.new_id(),
                    name=name,
                    confidence=round(min(max(segment.score, 0.0), 1.0), 4),
                    created_by=self.engine.name,
                    polygon=polygon,
                )
            )
            assert isinstance(annotation, PolygonAnnotation)
            found.append(annotation)
        return found, first

    @contextmanager
    def _guarded(self, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Make whatever an engine raises one clear error."""
        try:
            yield
        except passing:
            raise
        except Exception as error:
            log.exception("the engine %s failed", self.engine.name)
            raise Unavailable(
                f"The engine {self.engine.name!r} failed on this prompt; nothing was charged.",
                code="engine_failed",
                fix="Draw the object yourself with save_annotations, or try another prompt; the operator "
                "finds the cause in the server's log.",
                retryable=False,
            ) from error


def _pixels(image: bytes) -> Pixels:
    import numpy as np

    from tintype_studio.media.decode import decode_upright

    return np.asarray(decode_upright(image))


def _as_box(box: BoundingBox) -> Box:
    return Box(box.x, box.y, box.w, box.h)


def _as_bbox(annotation: PolygonAnnotation | BBoxAnnotation) -> BBoxAnnotation:
    return BBoxAnnotation(
        id=annotation.id,
        name=annotation.name,
        confidence=annotation.confidence,
        created_by=annotation.created_by,
        bounding_box=_box_of(annotation),
    )


def _box_of(annotation: PolygonAnnotation | BBoxAnnotation) -> BoundingBox:
    assert annotation.bounding_box is not None
    return annotation.bounding_box


def _whole(box: BoundingBox) -> BoundingBox:
    """The box in whole pixels, around it: what an agent reads and passes on."""
    left, top = math.floor(box.x), math.floor(box.y)
    return BoundingBox(x=left, y=top, w=math.ceil(box.x + box.w) - left, h=math.ceil(box.y + box.h) - top)
