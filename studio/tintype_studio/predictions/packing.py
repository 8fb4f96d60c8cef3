"""What a detector has found in the frames of a part of a video, and the same as a few bytes.

Arrays, not objects: an hour of a busy road has millions of boxes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from tintype_studio.vision.heads import Attributes, Choices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEAD = struct.Struct("<I")
_ARRAYS = (
    ("timestamps_us", "<i8"),
    ("counts", "<i4"),
    ("boxes", "<f4"),
    ("scores", "<f4"),
    ("labels", "<i4"),
    ("looks", "u1"),
    ("options", "<f4"),
)


@dataclass(frozen=True, slots=True, eq=False)
class FramesFound:
    """Of F frames, in the order of time, N detections in all, those of a frame together and best first."""

    width: int
    height: int
    """Pixels of the upright frames; 0 where none could be read."""
    classes: tuple[str, ...]
    attributes: Attributes
    """Of each class that has some: its attributes, of each attribute its options."""
    whole: bool
    """Whether a detection is no object but a class of the whole frame."""
    timestamps_us: NDArray[np.int64]
    """``[F]``: when the frame is shown, from the beginning of the video."""
    counts: NDArray[np.int32]
    """``[F]``: detections of each frame."""
    boxes: NDArray[np.float32]
    """``[N, 4]``: left, top, right, bottom as shares of width and height."""
    scores: NDArray[np.float32]
    """``[N]``"""
    labels: NDArray[np.int32]
    """``[N]``: indexes of ``classes``."""
    looks: NDArray[np.uint8]
    """``[N, L]`` (``video/tracking/looks.py``)."""
    options: NDArray[np.float32]
    """``[N, K]``: scores of the options of the detection's class, as ``columns`` has them; zeros where
    nothing was chosen.
    """


def columns(attributes: Attributes, name: str) -> list[tuple[str, list[str], int]]:
    """A class's attributes, their options, and the column of each one's first option."""
    found, start = [], 0
    for attribute, options in attributes.get(name, {}).items():
        found.append((attribute, list(options), start))
        start += len(options)
    return found


def width_of(attributes: Attributes) -> int:
    """K: columns of the class that has most."""
    return max((sum(map(len, of_class.values())) for of_class in attributes.values()), default=0)


def option_row(attributes: Attributes, name: str, choices: Choices) -> list[float]:
    """A detection's row of ``FramesFound.options``."""
    row = [0.0] * width_of(attributes)
    for attribute, options, start in columns(attributes, name):
        if attribute in choices:
            scores = choices[attribute][2]
            row[start : start + len(options)] = [scores.get(option, 0.0) for option in options]
    return row


def pack(found: FramesFound) -> bytes:
    """A part as bytes."""
    import numpy as np

    arrays = [np.ascontiguousarray(getattr(found, name), kind) for name, kind in _ARRAYS]
    head = orjson.dumps(
        {
            "width": found.width,
            "height": found.height,
            "classes": found.classes,
            "attributes": {name: dict(of_class) for name, of_class in found.attributes.items()},
            "whole": found.whole,
            "shapes": [each.shape for each in arrays],
        }
    )
    body = b"".join([_HEAD.pack(len(head)), head, *(each.tobytes() for each in arrays)])
    return zlib.compress(body, 1)


def unpack(data: bytes) -> FramesFound:
    """What ``pack`` was given."""
    import numpy as np

    body = memoryview(zlib.decompress(data))
    (length,) = _HEAD.unpack_from(body)
    at = _HEAD.size + length
    head: dict[str, Any] = orjson.loads(body[_HEAD.size : at])
    arrays: dict[str, Any] = {}
    for (name, kind), shape in zip(_ARRAYS, head.pop("shapes"), strict=True):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, kind, count, at).reshape(shape)
        at += arrays[name].nbytes
    return FramesFound(**{**head, "classes": tuple(head["classes"])}, **arrays)


def joined(parts: Sequence[FramesFound]) -> FramesFound:
    """Parts of one video, found by one model, in the order of time; at least one."""
    import numpy as np

    first = next((each for each in parts if each.width), parts[0])
    return FramesFound(
        first.width,
        first.height,
        first.classes,
        first.attributes,
        first.whole,
        **{name: np.concatenate([getattr(each, name) for each in parts]) for name, _ in _ARRAYS},
    )
