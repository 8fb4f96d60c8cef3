"""Objects whose ways are known: their detections in frames at any times, and clips that show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tintype_studio.video.tracking.looks import LENGTH
from tintype_studio.video.tracking.protocol import Tracker

SECOND = 1_000_000
SIZE = (640, 360)


@dataclass(frozen=True)
class Thing:
    """An object: where its centre is at a time in seconds, None while it is not to be seen."""

    at: Callable[[float], tuple[float, float] | None]
    side: float = 60.0
    label: int = 0
    colour: float = 100.0
    """What its look is made of."""
    score: Callable[[float], float] = field(default=lambda _: 0.9)


@dataclass(frozen=True)
class Frame:
    """What a detector would tell of a frame, and whose detections they are."""

    timestamp_us: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    looks: np.ndarray
    owners: np.ndarray


def detections(
    things: Sequence[Thing], seconds: Sequence[float], *, noise: float = 0.02, seed: int = 0
) -> list[Frame]:
    """What is found of the things at these times, best first; ``noise`` in sides."""
    random = np.random.default_rng(seed)
    frames = []
    for now in seconds:
        rows = []
        for owner, thing in enumerate(things, 1):
            centre = thing.at(now)
            if centre is None:
                continue
            middle = np.array(centre) + random.normal(0, noise * thing.side, 2)
            half = thing.side / 2 * (1 + random.normal(0, noise))
            box = np.clip([*(middle - half), *(middle + half)], 0, [*SIZE, *SIZE])
            if (box[2:] - box[:2]).min() > 4:
                look = np.clip(thing.colour + random.normal(0, 2, LENGTH), 0, 255)
                rows.append((thing.score(now), box, thing.label, look, owner))
        rows.sort(key=lambda row: -row[0])
        frames.append(
            Frame(
                round(now * SECOND),
                np.array([row[1] for row in rows]).reshape(-1, 4),
                np.array([row[0] for row in rows]),
                np.array([row[2] for row in rows], np.int64),
                np.array([row[3] for row in rows], np.uint8).reshape(-1, LENGTH),
                np.array([row[4] for row in rows], np.int64),
            )
        )
    return frames


def tracked(tracker: Tracker, frames: Sequence[Frame], *, looks: bool = True) -> dict[int, list[int]]:
    """Of each owner the objects that its detections were given to, in the order of time; 0 for none."""
    told = [
        tracker.update(f.timestamp_us, f.boxes, f.scores, f.labels, f.looks if looks else None)
        for f in frames
    ]
    settled = tracker.settled()
    found: dict[int, list[int]] = {}
    for frame, ids in zip(frames, told, strict=True):
        for owner, track in zip(frame.owners.tolist(), ids.tolist(), strict=True):
            found.setdefault(owner, []).append(settled.get(track, 0))
    return found


def cells_clip(
    path: Path,
    times_ms: Sequence[int],
    shown: Callable[[int], Sequence[tuple[int, int, tuple[int, int, int]]]],
    *,
    side: int = 128,
    rotation: int | None = None,
) -> Path:
    """A square clip of 4 x 4 grey cells, ``shown`` ones coloured: (column, row, RGB) at a time in ms."""
    step = side // 4
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = side, side, "yuv420p", 12
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for time in times_ms:
            pixels = np.full((side, side, 3), 114, np.uint8)
            for column, row, colour in shown(time):
                pixels[row * step : row * step + step, column * step : column * step + step] = colour
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
