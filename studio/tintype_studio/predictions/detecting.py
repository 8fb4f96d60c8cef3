"""What a model finds in frames of a video. Runs in a child process, which keeps file and model open.

While the network works on some frames, the next ones are decoded: the caller's thread decodes, the others
turn frames into pictures and ask the model. Only so many frames are in memory as they can work on.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from tintype_studio.predictions.looking import Eye
from tintype_studio.predictions.packing import FramesFound, pack
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.video.choice import Span, Wanted, choose
from tintype_studio.video.frames import Reader
from tintype_studio.video.source import require_size
from tintype_studio.video.upright import upright_rgb

if TYPE_CHECKING:
    from av import VideoFrame

    from tintype_studio.predictions.sight import Glimpse, Sight

BATCH_PIXELS, MOST_AT_A_TIME = 10_000_000, 8
"""Of the frames that go through the network at a time."""
PIXELS_IN_FLIGHT = 60_000_000
WORKERS = 4
MICROSECONDS = 1_000_000
DEFAULT_FPS = 1

_open: dict[str, tuple[Reader, int]] = {}
"""Of this child process, with the time of the last frame that was asked for: the next part goes on there."""


_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of glibc's ``mallopt``."""
_PICTURE_BYTES = 1_000_000
"""What is larger is given back to the system as soon as it is free."""


@cache
def _hold_no_holes() -> None:
    """Pictures come and go in several threads; among smaller things they leave holes that nothing fits into.

    Only glibc does so, and only it has the switch.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _PICTURE_BYTES)


def detect(path: str, wanted: Sequence[Wanted], eye: Eye, blob_url: str, threshold: float) -> bytes:
    """What the model finds in these frames of a video file, in the order of time, as ``packing.pack`` has it.

    ``threshold`` (0 to 1) is the score from which an object counts; some below it are found, too, so that
    objects can be followed while they are hard to see. Frames that cannot be read for damage are missing.
    Raises as ``open_video``, and Unavailable when the model's files are gone (``model_file_missing``,
    ``weights_missing`` …) or it breaks (``engine_failed``).
    """
    from tintype_studio.predictions.sight import open_sight
    from tintype_studio.storage.blobs import Blobs

    _hold_no_holes()
    sight = open_sight(Blobs(blob_url), eye)
    reader, last = _open.get(path, (None, 0))
    if reader is None or (wanted and wanted[0].pts <= last):
        # Readers go forward only; a part may be asked for again.
        release()
        reader = Reader(path, os.cpu_count() or 1)
    _open[path] = reader, wanted[-1].pts if wanted else last
    return pack(looked_through(reader, wanted, sight, threshold))


def release() -> None:
    """Close what is open, so that a removed file's room is free. Runs in a child."""
    for reader, _ in _open.values():
        reader.close()
    _open.clear()


def predict_file(
    path: str,
    eye: Eye,
    blob_url: str,
    *,
    frames_per_second: int = DEFAULT_FPS,
    threshold: float = 0.5,
) -> MediaPrediction:
    """The objects of a whole video, looked at ``frames_per_second`` times (or as often as it has frames).

    In this process: for files that are trusted. Raises as ``choose``, ``detect`` and ``timeline.timeline``.
    """
    from tintype_studio.predictions.packing import unpack
    from tintype_studio.predictions.timeline import timeline

    wanted = choose(path, Span(float(frames_per_second))).frames
    try:
        found = unpack(detect(path, wanted, eye, blob_url, threshold))
    finally:
        release()
    return timeline(found, frames_per_second=frames_per_second, model=eye.label, threshold=threshold)


def looked_through(reader: Reader, wanted: Sequence[Wanted], sight: Sight, threshold: float) -> FramesFound:
    """``detect`` with what is open already."""
    from tintype_studio.predictions.sight import gathered

    workers = min(WORKERS, os.cpu_count() or 1)
    times: list[int] = []
    glimpses: list[Glimpse] = []
    pending: deque[Future[list[Glimpse]]] = deque()

    def ask(frames: list[VideoFrame]) -> list[Glimpse]:
        return sight.see([upright_rgb(frame) for frame in frames], threshold)

    with ThreadPoolExecutor(workers, "look") as pool:
        try:
            for batch in _batches(reader, wanted):
                times += [round(each.seconds * MICROSECONDS) for each, _ in batch]
                frames = [frame for _, frame in batch]
                pending.append(pool.submit(ask, frames))
                room = PIXELS_IN_FLIGHT // max(1, sum(frame.width * frame.height for frame in frames))
                while len(pending) > min(workers, max(0, room - 1)):
                    glimpses += pending.popleft().result()
            for each in pending:
                glimpses += each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return gathered(sight, times, glimpses)


def _batches(reader: Reader, wanted: Sequence[Wanted]) -> Iterator[list[tuple[Wanted, VideoFrame]]]:
    batch: list[tuple[Wanted, VideoFrame]] = []
    pixels = 0
    for each in wanted:
        frame = reader.frame(each)
        if frame is None:
            continue
        require_size(frame.width, frame.height)
        batch.append((each, frame))
        pixels += frame.width * frame.height
        if len(batch) == MOST_AT_A_TIME or pixels + frame.width * frame.height > BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch
