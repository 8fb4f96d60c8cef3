"""Frames of a video as upright pictures, exactly those that are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintype_studio.video.choice import Span, Wanted, choose
from tintype_studio.video.source import open_video, require_size
from tintype_studio.video.upright import upright_bgr

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame

JPEG_QUALITY = 92
PIXELS_AT_A_TIME = 40_000_000
"""Of the pictures that one batch returns."""
MOST_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame as a JPEG file. Its number is that of the ``Wanted`` it was taken for."""

    index: int
    jpeg: bytes


def batch_size(width: int, height: int) -> int:
    """How many frames of a size are taken at a time."""
    return max(1, min(MOST_AT_A_TIME, PIXELS_AT_A_TIME // max(1, width * height)))


class Reader:
    """Decodes forward through one file, and jumps over what nobody wants."""

    def __init__(self, path: str, threads: int) -> None:
        self._path = Path(path)
        self._threads = threads
        self._stack = ExitStack()
        self._frames: Iterator[VideoFrame] = iter(())
        self._held: VideoFrame | None = None
        self._next: VideoFrame | None = None
        self._given: VideoFrame | None = None
        self._open = False
        self._from_start = False

    def close(self) -> None:
        """Close the file."""
        self._stack.close()
        self._open = False

    def frame(self, wanted: Wanted) -> VideoFrame | None:
        """The frame that is shown at a time, not before that of the last call.

        None where it cannot be read for damage, and the one before it would still be shown.
        """
        if not self._open or self._is_worth_a_jump(wanted):
            self._jump(wanted.key)
        found = self._forward(wanted.pts)
        if found is None and not self._from_start:
            # Decoding could not begin at that frame after all: only the beginning is certain.
            self._jump(None)
            found = self._forward(wanted.pts)
        if found is None or found is self._given:
            return None
        if wanted.after is not None and found.pts is not None and found.pts <= wanted.after:
            return None
        self._given = found
        return found

    def _is_worth_a_jump(self, wanted: Wanted) -> bool:
        at = self._next or self._held
        return wanted.key is not None and at is not None and at.pts is not None and at.pts < wanted.key

    def _jump(self, key: int | None) -> None:
        self.close()
        container, stream = self._stack.enter_context(open_video(self._path, threads=self._threads))
        self._open = True
        self._from_start = key is None or key <= (stream.start_time or 0)
        if key is not None and not self._from_start:
            container.seek(key, stream=stream)
        self._held = self._next = None
        self._frames = _decoded(container, stream, after_seek=not self._from_start)

    def _forward(self, pts: int) -> VideoFrame | None:
        """The last frame at or before a time; the very first where there is none before."""
        while True:
            following = self._next or next(self._frames, None)
            self._next = following
            if following is None:
                return self._held
            at = following.pts if following.pts is not None else _after(self._held)
            if at > pts:
                if self._held is None and self._from_start:
                    self._held, self._next = following, None
                return self._held
            self._held, self._next = following, None
            if at == pts:
                return self._held


def _decoded(container: Any, stream: Any, *, after_seek: bool) -> Iterator[VideoFrame]:
    import av

    packets = container.demux(stream)
    begun = not after_seek
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):  # cut off: what was read before counts
            return
        # Some containers are entered in the middle; what comes before a key frame would be guessed.
        begun = begun or packet.is_keyframe
        if not begun:
            continue
        try:
            yield from packet.decode()
        except av.FFmpegError:  # a damaged packet; the next ones may be whole
            continue


def _after(frame: VideoFrame | None) -> int:
    return (frame.pts or 0) + 1 if frame is not None else 0


_Begun = tuple[tuple[Wanted, ...], "Future[list[tuple[int, Future[bytes]]]]"]


class _Taking:
    """One open file in a child process: frames are decoded in a thread, and encoded in others behind it."""

    def __init__(self, path: str) -> None:
        threads = os.cpu_count() or 1
        self._path = path
        self._reader = Reader(path, threads)
        self._decoding = ThreadPoolExecutor(1)
        self._encoding = ThreadPoolExecutor(min(4, threads))
        self._begun: _Begun | None = None

    def take(self, wanted: tuple[Wanted, ...], ahead: tuple[Wanted, ...]) -> list[Taken]:
        begun = self._begun
        if begun is not None and begun[0] != wanted:  # after a failure
            begun[1].exception()
            self._reader.close()
            begun = None
        pending = begun[1] if begun is not None else self._decoding.submit(self._decode, wanted)
        self._begun = (ahead, self._decoding.submit(self._decode, ahead)) if ahead else None
        return [Taken(index, jpeg.result()) for index, jpeg in pending.result()]

    def _decode(self, wanted: tuple[Wanted, ...]) -> list[tuple[int, Future[bytes]]]:
        pending = []
        for each in wanted:
            frame = self._reader.frame(each)
            if frame is not None:
                pending.append((each.index, self._encoding.submit(_jpeg, frame)))
        return pending

    def close(self) -> None:
        self._decoding.shutdown()
        self._encoding.shutdown()
        self._reader.close()


_open_files: dict[str, _Taking] = {}
"""Of this child process: the next batch goes on where the last one ended."""


def take(path: str, wanted: Sequence[Wanted], ahead: Sequence[Wanted] = ()) -> list[Taken]:
    """Frames as JPEG files, in order; those that cannot be read for damage are missing. Runs in a child.

    ``ahead`` are those of the next call: they are begun while these are handed over.
    """
    taking = _open_files.get(path)
    if taking is None:
        release()
        taking = _open_files[path] = _Taking(path)
    return taking.take(tuple(wanted), tuple(ahead))


def release() -> None:
    """Close what is open, so that a removed file's room is free. Runs in a child."""
    for taking in _open_files.values():
        taking.close()
    _open_files.clear()


def _jpeg(frame: VideoFrame) -> bytes:
    import cv2

    require_size(frame.width, frame.height)
    _, data = cv2.imencode(".jpg", upright_bgr(frame), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def frames(path: str, span: Span) -> Iterator[tuple[float, np.ndarray[Any, Any]]]:
    """``(seconds, picture)`` of every frame that a span means; pictures are height x width x 3, RGB.

    In this process: for files that are trusted. Raises as ``choose``.
    """
    reader = Reader(path, os.cpu_count() or 1)
    try:
        for wanted in choose(path, span).frames:
            frame = reader.frame(wanted)
            if frame is not None:
                yield wanted.seconds, upright_bgr(frame)[..., ::-1]
    finally:
        reader.close()
