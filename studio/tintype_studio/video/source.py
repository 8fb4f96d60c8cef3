"""Opens a video file, and nothing that such a file may point to.

A playlist or a script of the demuxers would make the library open other files of this machine, or
addresses; so only containers that hold their own pictures are opened, by the ``file`` protocol alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tintype_studio.errors import InvalidInput, TooLarge, UnsupportedFormat

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

MAX_PIXELS = 8192 * 8192
"""Of one frame. Several are in memory at a time."""

MAX_PACKETS = 2_000_000
"""Read of one file. A small file can hold far more empty ones than anybody wants to wait for."""

CONTAINERS = (
    "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,mxf,gif,ivf,dv,m4v,h264,hevc,obu,yuv4mpegpipe"
)
"""Names of the demuxers that may be used; none of them opens another file."""

FIX = "Check that the file plays in a video player; convert it to MP4 (H.264) if it does."

_HEADS = ((4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (0, b"\x1aE\xdf\xa3"), (0, b"RIFF"), (0, b"FLV"))
"""Marks of containers, and where they stand: a file that begins so and does not open is damaged."""


@contextmanager
def open_video(path: Path, *, threads: int = 1) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its video stream, to read packets and frames from; decoding takes ``threads`` threads.

    Raises ``UnsupportedFormat`` for what is no video or has none in it, ``InvalidInput`` (``damaged_video``)
    for one that is damaged beyond opening, ``TooLarge`` for frames over ``MAX_PIXELS``.
    """
    import av

    options = {
        "format_whitelist": CONTAINERS,
        "protocol_whitelist": "file",
        "max_pixels": str(MAX_PIXELS),
    }
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise _unopened(path) from error
    with container:
        stream = _video_of(container)
        context = stream.codec_context
        if context is None or not _has_decoder(stream):
            raise UnsupportedFormat("The video's codec is not supported.", fix=FIX)
        require_size(context.width, context.height)
        context.thread_count = threads
        context.thread_type = av.codec.context.ThreadType.AUTO
        yield container, stream


def require_size(width: int, height: int) -> None:
    """Refuse frames that are too large to work with."""
    if width * height > MAX_PIXELS:
        raise TooLarge(
            f"The video's frames have {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are "
            "accepted.",
            code="frame_too_large",
            fix="Scale the video down and upload it again.",
        )


def damaged(what: str) -> InvalidInput:
    """A video of which nothing can be read."""
    return InvalidInput(what, code="damaged_video", fix=FIX)


def too_many_packets() -> TooLarge:
    """A video with more frames than are read."""
    return TooLarge(
        f"The video holds more than {MAX_PACKETS:,} frames.",
        code="too_many_frames",
        fix="Cut the video into shorter ones, or extract a part of it by start_seconds and end_seconds.",
    )


def _video_of(container: InputContainer) -> VideoStream:
    from av.stream import Disposition

    # The cover of a song is a video stream, too.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UnsupportedFormat("The file holds no video, only sound or pictures.", fix=FIX)
    best = container.streams.best("video")
    return next((s for s in streams if best is not None and s.index == best.index), streams[0])


def _has_decoder(stream: VideoStream) -> bool:
    try:
        return bool(stream.codec_context.codec.is_decoder)
    except (AttributeError, ValueError):  # the library has none for it
        return False


def _unopened(path: Path) -> InvalidInput:
    with path.open("rb") as file:
        head = file.read(16)
    if any(head[at : at + len(mark)] == mark for at, mark in _HEADS):
        return damaged("The video cannot be opened: it is damaged, or its end is missing.")
    return UnsupportedFormat("The file is no video of a format that is supported.", fix=FIX)
