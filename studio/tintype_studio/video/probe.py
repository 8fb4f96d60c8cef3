"""What a video is: length, rate, size of its upright frames. Runs in a child process."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tintype_studio.errors import TooLarge
from tintype_studio.video.source import MAX_PACKETS, damaged, open_video, require_size, too_many_packets
from tintype_studio.video.upright import is_turned

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

MICROSECONDS = 1_000_000
FIRST_PACKETS = 500
"""A video that shows nothing in so many packets is taken for damaged."""
COUNTED_BYTES = 1 << 30
"""Frames of larger files are estimated where the container does not count them."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video. Sizes in pixels, of the upright picture."""

    duration_seconds: float
    native_fps: float
    """Frames a second, on average."""
    width: int
    height: int
    frame_count: int
    """As the container counts them; else as they were counted or, in a very large file, estimated."""
    codec: str


def probe(path: str) -> VideoInfo:
    """Describe the video at a path. Raises as ``open_video``, and ``TooLarge`` (``too_many_frames``)."""
    file = Path(path)
    with open_video(file) as (container, stream):
        first = _first_frame(container, stream)
        require_size(first.width, first.height)
        width, height = first.width, first.height
        if is_turned(first):
            width, height = height, width
        duration, rate = _duration(container, stream), _rate(stream)
        count = stream.frames
        if not duration or not rate or (not count and os.stat(file).st_size <= COUNTED_BYTES):  # noqa: PTH116
            try:
                counted, seconds = _counted(file)
            except TooLarge:
                if not duration or not rate:
                    raise
            else:
                # Some containers tell the time of their end, wherever they begin.
                duration = seconds or duration if not stream.duration else duration
                count = count or counted
                rate = rate or (Fraction(counted) / seconds if seconds else Fraction(1))
                duration = duration or count / rate
        if not count:
            count = max(1, round(duration * rate))
        return VideoInfo(
            duration_seconds=round(float(duration), 6),
            native_fps=round(float(rate), 6),
            width=width,
            height=height,
            frame_count=count,
            codec=stream.codec_context.name,
        )


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    import av

    for packet in islice(container.demux(stream), FIRST_PACKETS):
        try:
            for frame in packet.decode():
                return frame
        except av.FFmpegError:  # a damaged beginning
            continue
    raise damaged("The video shows no picture: it is damaged or empty.")


def _duration(container: InputContainer, stream: VideoStream) -> Fraction:
    if stream.duration and stream.time_base:
        return stream.duration * Fraction(stream.time_base)
    if container.duration:
        return Fraction(container.duration, MICROSECONDS)
    return Fraction(0)


def _rate(stream: VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate:
            return Fraction(rate)
    return Fraction(0)


def _counted(file: Path) -> tuple[int, Fraction]:
    """Frames, and the seconds that they take, by reading all packets without decoding them."""
    import av

    count, first, end = 0, None, 0
    # Opened again: what holds bare pictures cannot be wound back.
    with open_video(file) as (container, stream):
        with suppress(av.FFmpegError):  # what is readable counts
            for read, packet in enumerate(container.demux(stream)):
                if read >= MAX_PACKETS:
                    raise too_many_packets()
                if not packet.size or packet.is_discard:
                    continue
                count += 1
                at = packet.pts if packet.pts is not None else packet.dts
                if at is not None:
                    first = at if first is None else min(first, at)
                    end = max(end, at + (packet.duration or 0))
        base = Fraction(stream.time_base) if stream.time_base else Fraction(0)
    return count, (end - first) * base if first is not None else Fraction(0)
