"""Predictions to look at: a picture with its objects, or a sheet of frames of a video.

In videos an object has one colour and its number in all frames; in pictures a class has one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.media.budget import keep_going
from tintype_studio.media.palette import PALETTE, class_color
from tintype_studio.predictions.drafts import draft_of
from tintype_studio.predictions.moments import Sighting, sightings
from tintype_studio.predictions.shapes import MediaPrediction

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

LABEL_LENGTH = 120
SHEET_WIDTH = 1280
"""Pixels that agents are shown without being scaled down; wider sheets only for wider frames."""
MICROSECONDS = 1_000_000
TIMES_AWAY = 1000
"""Microseconds by which containers that round may move a frame."""


def picture(
    data: bytes, prediction: MediaPrediction, *, max_side: int, check: Callable[[], None] = keep_going
) -> tuple[bytes, str, int, int]:
    """A picture's file with what was found in it, as ``media.draw.preview`` returns it."""
    from tintype_studio.media.draw import preview

    seen = sightings(prediction).get(0, [])
    drawn, colors = labelled(seen, (prediction.width, prediction.height), numbered=False)
    return preview(data, drawn, max_side=max_side, colors=colors, check=check)


def labelled(
    seen: Sequence[Sighting], size: tuple[int, int], *, numbered: bool
) -> tuple[list[Annotation], dict[str, str]]:
    """Sightings as annotations whose names say all that a tag shall, and the colours of these names."""
    drawn, colors = [], {}
    for each in seen:
        label = label_of(each, numbered=numbered)
        if numbered:
            colors[label] = PALETTE[(each.object_id - 1) % len(PALETTE)]
        else:
            colors[label] = "#{:02x}{:02x}{:02x}".format(*class_color(each.name, {}))
        annotation = draft_of(each, size, created_by="", options={})
        drawn.append(annotation.model_copy(update={"name": label}))
    return drawn, colors


def label_of(seen: Sighting, *, numbered: bool) -> str:
    """Number, class and options: ``3 sign · red``."""
    told = " · ".join([seen.name, *seen.options.values()])
    return (f"{seen.object_id} {told}" if numbered else told)[:LABEL_LENGTH]


def sheet(path: str, stored: bytes, times: Sequence[int], side: int) -> tuple[bytes, int, int]:
    """A JPEG of the frames at these times of a predicted video, each with what was seen in it.

    ``stored`` is the prediction as JSON; ``side`` the longest side of a frame in pixels. A frame that cannot
    be read stays empty. Runs in a child process. Returns the file, its width and its height.
    """
    from tintype_studio.media.contact_sheet import Tile, contact_sheet

    prediction = MediaPrediction.from_json(stored)
    seen = sightings(prediction)
    tiles = []
    for time, pixels in frames_at(path, prediction, times):
        there = seen.get(time, [])
        caption = f"{time / MICROSECONDS:.2f} s · {len(there)} object{'' if len(there) == 1 else 's'}"
        tiles.append(Tile(None if pixels is None else _png(drawn_frame(pixels, there, side)), caption))
    share = min(1.0, side / max(prediction.width, prediction.height))
    wide, high = (max(1, round(share * length)) for length in (prediction.width, prediction.height))
    return contact_sheet(tiles, side=wide, columns=max(1, SHEET_WIDTH // wide), high=high)


def drawn_frame(pixels: np.ndarray[Any, Any], seen: Sequence[Sighting], side: int) -> Image:
    """A frame (height x width x 3, 8 bits, blue first), at most ``side`` pixels long, with its objects."""
    import cv2
    from PIL import Image

    from tintype_studio.media.draw import draw_annotations

    height, width = pixels.shape[:2]
    share = min(1.0, side / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small = pixels if share == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    drawn, colors = labelled(seen, (width, height), numbered=True)
    image = Image.fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    return draw_annotations(image, drawn, colors=colors, scale=size[0] / width)


def frames_at(
    path: str, prediction: MediaPrediction, times: Sequence[int]
) -> list[tuple[int, np.ndarray[Any, Any] | None]]:
    """The frames of a predicted video at some of its times, upright, blue first; None for one that is lost.

    Raises as ``video.choice.choose``.
    """
    from tintype_studio.video.frames import Reader
    from tintype_studio.video.upright import upright_bgr

    wanted = wanted_at(path, prediction.frames_per_second, times)
    reader = Reader(path, os.cpu_count() or 1)
    try:
        found: list[tuple[int, np.ndarray[Any, Any] | None]] = []
        for time in times:
            frame = reader.frame(wanted[time]) if time in wanted else None
            found.append((time, None if frame is None else upright_bgr(frame)))
        return found
    finally:
        reader.close()


def wanted_at(path: str, frames_per_second: int | None, times: Sequence[int]) -> dict[int, Any]:
    """By time, the frame of the video that was looked at then (``video.choice.Wanted``, whose index is its
    place in the timeline); times at which the file has no frame are missing. Runs in a child process.
    """
    from bisect import bisect_left

    from tintype_studio.video.choice import Span, choose

    chosen = choose(path, Span(float(frames_per_second or 1))).frames
    moments = [round(each.seconds * MICROSECONDS) for each in chosen]
    found = {}
    for time in times:
        at = bisect_left(moments, time - TIMES_AWAY)
        if at < len(moments) and abs(moments[at] - time) <= TIMES_AWAY:
            found[time] = chosen[at]
    return found


def _png(image: Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
