"""Which frames of a video are taken, found from its packets without decoding.

Taken is, for every moment ``start + n / fps``, the frame that is being shown then; so a video whose frames
come at uneven times is sampled by time, not by count. No frame is taken twice.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tintype_studio.errors import InvalidInput
from tintype_studio.video.source import MAX_PACKETS, damaged, open_video, too_many_packets

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

MAX_FRAMES = 100_000
"""Of one extraction."""
LEAST_FPS, MOST_FPS = 0.001, 240.0
MOST_SECONDS = 1e7
"""Of a moment: what is later is none in a video."""
REORDERED = 64
"""Packets among which the first frame is: they come in the order of decoding."""
ROUNDING_SECONDS = Fraction(2, 1000)
"""Containers round times to their ticks, but not so far."""
LOST_SECONDS = 1.0
"""A file that ends so much before the time that it tells is cut off."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for. ``None`` for the whole of the video, and for as many frames as there are."""

    fps: float
    start_seconds: float | None = None
    end_seconds: float | None = None
    max_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A frame to be taken."""

    index: int
    """From 0, in the order of time."""
    pts: int
    """When it is shown, in the stream's ticks."""
    key: int | None
    """Time of the frame that decoding must begin with, at the latest; None for the beginning."""
    seconds: float
    """When it is shown, from the beginning of the video."""
    after: int | None = None
    """When the frame before it is shown: what is found for it must be later. None where nothing is known."""


@dataclass(slots=True)
class Choice:
    """The frames to be taken, and what is to be said of the file."""

    frames: list[Wanted]
    width: int
    height: int
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Times:
    shown: array[int]
    keys: array[int]
    end: int
    """Of the last frame."""
    reliable: bool
    """Whether every packet has its time."""
    cut_off: bool


def choose(path: str, span: Span) -> Choice:
    """The frames of a video that a span means.

    Raises as ``open_video``, ``InvalidInput`` (``nothing_to_extract``, or ``invalid_span`` for numbers that
    mean none) and ``TooLarge`` (``too_many_frames``).
    """
    _require_span(span)
    file = Path(path)
    with open_video(file) as (container, stream):
        base = Fraction(stream.time_base or Fraction(1, 1000))
        origin = _first_time(container, stream)
    begin = origin + math.floor((span.start_seconds or 0) / base)
    end = None if span.end_seconds is None else origin + math.ceil(span.end_seconds / base)
    with open_video(file) as (container, stream):
        times = _read_times(container, stream, origin, begin, end)
        width, height = stream.codec_context.width, stream.codec_context.height
    if begin > origin and (not times.shown or times.shown[0] > begin):
        # The index led past the moment, or nowhere: the frame that is shown then is before.
        with open_video(file) as (container, stream):
            times = _read_times(container, stream, origin, origin, end)
    if not times.shown:
        raise damaged("The video holds no frame: it is damaged or empty.")
    choice = Choice([], width, height)
    until = Fraction(times.end)
    if span.end_seconds is not None:
        until = min(until, origin + Fraction(span.end_seconds) / base)
    limit = min(span.max_frames or MAX_FRAMES, MAX_FRAMES)
    step = 1 / Fraction(span.fps).limit_denominator(1_000_000) / base
    start = origin + Fraction(span.start_seconds or 0) / base
    late = min(Fraction(1), ROUNDING_SECONDS / base)
    for pts in _shown_at(times.shown, start, step, until, late):
        if len(choice.frames) == limit:
            if span.max_frames is None or span.max_frames > MAX_FRAMES:
                choice.notes.append(f"Only the first {MAX_FRAMES:,} frames were taken.")
            break
        at = bisect_right(times.keys, pts) - 1
        key = times.keys[at] if times.reliable and at >= 0 else None
        place = bisect_left(times.shown, pts)
        after = times.shown[place - 1] if times.reliable and place else None
        choice.frames.append(Wanted(len(choice.frames), pts, key, float((pts - origin) * base), after))
    if not choice.frames:
        raise _nothing("The video shows no frame in the given time.")
    if times.cut_off:
        length = float((times.end - origin) * base)
        choice.notes.append(f"The file is damaged or cut off at {length:.1f} s; frames up to there count.")
    return choice


def _shown_at(
    shown: array[int], start: Fraction, step: Fraction, until: Fraction, late: Fraction
) -> Iterator[int]:
    """Times of the frames that are being shown at ``start``, ``start + step`` … before ``until``.

    A frame may be told ``late`` ticks after the moment at which it is shown.
    """
    number, last = 0, -1
    while (moment := start + number * step) < until:
        position = max(0, bisect_right(shown, moment + late) - 1)
        if position != last:
            yield shown[position]
            last = position
        if position + 1 >= len(shown):
            break
        number = max(number + 1, math.ceil((shown[position + 1] - late - start) / step))


def _first_time(container: InputContainer, stream: VideoStream) -> int:
    """When the first frame is shown, in ticks: not always 0, nor what the header says."""
    import av

    first = []
    try:
        for packet in islice(container.demux(stream), REORDERED):
            at = packet.pts if packet.pts is not None else packet.dts
            if at is not None and packet.size and not packet.is_discard:
                first.append(at)
    except av.FFmpegError:  # damaged so early that reading on says so
        pass
    return min(first, default=0)


def _read_times(
    container: InputContainer, stream: VideoStream, origin: int, begin: int, end: int | None
) -> _Times:
    """Times of all frames that may be shown between ``begin`` and ``end``, in ticks."""
    import av

    # Arrays: a small file can hold millions of packets, and lists of numbers take five times their room.
    times = _Times(array("q"), array("q"), 0, reliable=True, cut_off=False)
    begun = begin <= origin
    if begin > origin:
        container.seek(begin, stream=stream)
    broken = complete = False
    try:
        for read, packet in enumerate(container.demux(stream)):
            if read >= MAX_PACKETS:
                raise too_many_packets()
            # Frames come in the order of decoding: only behind a key frame is none missing.
            begun = begun or packet.is_keyframe
            if not begun or not packet.size or packet.is_discard or packet.is_corrupt:
                continue
            if end is not None and packet.dts is not None and packet.dts > end:
                complete = True
                break
            at = packet.pts if packet.pts is not None else packet.dts
            if packet.pts is None:
                times.reliable = False
            if at is None:
                continue
            times.shown.append(at)
            if packet.is_keyframe:
                times.keys.append(at)
            times.end = max(times.end, at + (packet.duration or 1))
    except av.FFmpegError:
        broken = True
    times.shown, times.keys = _in_order(times.shown), _in_order(times.keys)
    times.cut_off = not complete and (broken or _is_short(container, stream, origin, times.end))
    return times


def _in_order(times: array[int]) -> array[int]:
    """Sorted, each once."""
    import numpy as np

    return array("q", np.unique(np.frombuffer(times, np.int64)).tobytes())


def _is_short(container: InputContainer, stream: VideoStream, origin: int, end: int) -> bool:
    """Whether the packets end well before the container says."""
    base = Fraction(stream.time_base or 1)
    if stream.duration:
        told = stream.duration * base
    elif container.duration and len(container.streams) == 1:
        told = Fraction(container.duration, 1_000_000)
    else:
        return False
    return told - (end - origin) * base > LOST_SECONDS


def _require_span(span: Span) -> None:
    # Fractions of absurd numbers overflow, divide by nothing, or take minutes.
    moments = [each for each in (span.start_seconds, span.end_seconds) if each is not None]
    if LEAST_FPS <= span.fps <= MOST_FPS and all(0 <= each <= MOST_SECONDS for each in moments):
        return
    raise InvalidInput(
        "The video has no such moments.",
        code="invalid_span",
        fix=f"Choose from {LEAST_FPS:g} to {MOST_FPS:g} frames per second, and seconds from 0 to "
        f"{MOST_SECONDS:,.0f}.",
    )


def _nothing(what: str) -> InvalidInput:
    return InvalidInput(
        what,
        code="nothing_to_extract",
        fix="Choose start_seconds and end_seconds within the video; probe_video tells its length.",
    )
