"""A short video of a video, with what was predicted drawn into every frame."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import Unavailable
from tintype_studio.predictions.moments import Sighting, sightings
from tintype_studio.predictions.pictures import MICROSECONDS, drawn_frame
from tintype_studio.predictions.shapes import MediaPrediction

if TYPE_CHECKING:
    import numpy as np

SMOOTH_FPS = 10.0
"""Frames a second at least, where the video has them: with one, nothing seems to move."""
MAX_FRAMES = 600
ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""The best first; a build of the library may lack some."""


@dataclass(frozen=True, slots=True)
class Clip:
    """An MP4 file. Sizes in pixels."""

    data: bytes
    width: int
    height: int
    frames: int
    seconds: float
    codec: str


def clip(path: str, stored: bytes, start_us: int, end_us: int, side: int) -> Clip:
    """The span of a predicted video (``stored``: the prediction as JSON) with its objects drawn.

    Between two looked-at frames, an object that was seen in both moves from one box to the other. At most
    ``MAX_FRAMES`` frames. Runs in a child process. Raises as ``video.frames.frames``.
    """
    from tintype_studio.video.choice import Span, choose
    from tintype_studio.video.frames import Reader
    from tintype_studio.video.upright import upright_bgr

    prediction = MediaPrediction.from_json(stored)
    fps = max(SMOOTH_FPS, float(prediction.frames_per_second or 1))
    end = None if prediction.duration_us is not None and end_us >= prediction.duration_us else end_us
    span = Span(
        fps,
        start_us / MICROSECONDS,
        None if end is None else end / MICROSECONDS,
        MAX_FRAMES,
    )
    chosen = choose(path, span).frames
    moving = Moving(prediction)
    film = _Film(fps)
    reader = Reader(path, os.cpu_count() or 1)
    try:
        for wanted in chosen:
            frame = reader.frame(wanted)
            if frame is not None:
                time = round(wanted.seconds * MICROSECONDS)
                image = drawn_frame(upright_bgr(frame), moving.at(time), side)
                film.add(time - round(chosen[0].seconds * MICROSECONDS), image)
    finally:
        reader.close()
    return film.finished()


class Moving:
    """Where objects are at any time: between two frames in which one was seen, on the way."""

    def __init__(self, prediction: MediaPrediction) -> None:
        self._times = prediction.frame_timestamps_us
        self._seen: Mapping[int, Sequence[Sighting]] = sightings(prediction)

    def at(self, time: int) -> list[Sighting]:
        """What is to be seen at a time in microseconds."""
        place = bisect_right(self._times, time) - 1
        if place < 0:
            return []
        before = self._times[place]
        here = self._seen.get(before, [])
        if before == time or place + 1 == len(self._times):
            return list(here)
        after = self._times[place + 1]
        later = {each.object_id: each for each in self._seen.get(after, ())}
        share = (time - before) / (after - before)
        return [self._between(each, later[each.object_id], share) for each in here if each.object_id in later]

    @staticmethod
    def _between(first: Sighting, second: Sighting, share: float) -> Sighting:
        left, top, right, bottom = (a + (b - a) * share for a, b in zip(first.box, second.box, strict=True))
        return replace(first, box=(left, top, right, bottom))


class _Film:
    """Encodes frames as they come."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._out = io.BytesIO()
        self._container: Any = None
        self._stream: Any = None
        self._count = 0
        self._last = 0

    def add(self, time: int, image: Any) -> None:
        """A frame, at a time in microseconds from the first."""
        import av
        import numpy as np

        pixels: np.ndarray[Any, Any] = np.asarray(image)
        # Chroma has half the size, so both sides must be even.
        height, width = (max(2, side // 2 * 2) for side in pixels.shape[:2])
        pixels = np.ascontiguousarray(pixels[:height, :width])
        if self._container is None:
            self._begin(width, height)
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame.pts, frame.time_base = time * 90 // 1000, Fraction(1, 90_000)
        self._container.mux(self._stream.encode(frame))
        self._count += 1
        self._last = time

    def finished(self) -> Clip:
        """The whole file. Raises InvalidInput (``damaged_video``) when no frame came."""
        from tintype_studio.video.source import damaged

        if self._container is None:
            raise damaged("The video is damaged there: no frame can be read.")
        self._container.mux(self._stream.encode())
        self._container.close()
        return Clip(
            self._out.getvalue(),
            self._stream.width,
            self._stream.height,
            self._count,
            round(self._last / MICROSECONDS + 1 / self._fps, 3),
            "h264" if "264" in self._stream.codec_context.codec.name else "mpeg4",
        )

    def _begin(self, width: int, height: int) -> None:
        import av

        self._container = av.open(self._out, "w", format="mp4")
        rate = Fraction(self._fps).limit_denominator(1000)
        self._stream = self._container.add_stream(_encoder(), rate=rate)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 90_000)
        if self._stream.codec_context.codec.name == "libx264":
            self._stream.options = {"preset": "veryfast", "crf": "23"}


def _encoder() -> str:
    import av

    for name in ENCODERS:
        try:
            if av.codec.Codec(name, "w").is_encoder:
                return name
        except ValueError:  # the build has it not
            continue
    raise Unavailable(
        "This build of PyAV encodes no MP4.",
        code="no_video_encoder",
        fix="Use the sheet of frames, or have the operator install a PyAV with H.264.",
        retryable=False,
    )
