"""Videos whose frames tell their numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tintype_studio.video.choice import Wanted
from tintype_studio.video.frames import Taken, take

WIDTH, HEIGHT, BITS = 320, 96, 12
UNEVEN = [sum((10, 33, 40, 200, 700)[n % 5] for n in range(count)) for count in range(60)]


def write(path: Path, times: list[int], *, codec: str = "libx264", rotation: int | None = None) -> Path:
    """A video whose frames carry their numbers as black and white bars, shown at ``times`` (ms)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", 12
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times):
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            for bit in range(BITS):
                pixels[:, bit * 24 : bit * 24 + 24] = 255 * (number >> bit & 1)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def number(pixels: np.ndarray) -> int:
    return sum(1 << bit for bit in range(BITS) if pixels[HEIGHT // 2, bit * 24 + 12].mean() > 128)


def clip(folder: Path, name: str = "drive.mp4", *, seconds: int = 4, fps: int = 10) -> Path:
    """A small video of a steady rate."""
    return write(folder / name, [1000 * n // fps for n in range(seconds * fps)])


def overwritten(path: Path, first: int, last: int) -> Path:
    """The packets of these frames overwritten, in a file whose index is whole."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    for packet in sorted(packets, key=lambda p: p.pts or 0)[first : last + 1]:
        assert packet.pos is not None
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    return path


def take_or_die(path: str, wanted: Sequence[Wanted], ahead: Sequence[Wanted] = ()) -> list[Taken]:
    """As ``take``; frame number 3 kills the process, whether it is wanted now or next."""
    if any(each.index == 3 for each in (*wanted, *ahead)):
        os._exit(9)
    return take(path, wanted, ahead)
