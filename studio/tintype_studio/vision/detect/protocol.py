"""What a detector must offer, and how an engine says whether it can serve a class.

Importing this module loads neither numpy nor OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tintype_studio.vision.protocols import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tintype_studio.annotations.geometry import PolygonGeometry

    Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that was found.

    ``name`` is one of the names that were asked for, ``box`` lies inside the image. ``score``, in 0..1, is
    the engine's estimate that the object is there, is of this class, and fills the box to an intersection
    over union of at least one half.
    """

    name: str
    box: Box
    score: float
    outline: Callable[[], PolygonGeometry | None] | None = None
    """Draws its outline, from engines that know it; not done for what nobody wants drawn."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The options of its attributes, from engines that know them."""


@runtime_checkable
class Detector(Protocol):
    """Finds every object of some classes. Implementations may be called from many threads."""

    @property
    def name(self) -> str:
        """A short stable name, stored with what the engine made."""
        ...

    def detect(
        self, image: Image, names: Sequence[str], *, threshold: float, max_detections: int
    ) -> list[Detection]:
        """Objects of the classes ``names`` with a score of ``threshold`` or more, best first.

        ``image`` is (H, W, 3) uint8 RGB. At most ``max_detections`` are returned; two of one class never
        cover the same object. The same arguments give the same answer. Raises InvalidImage for an image of
        another shape or type, and Unavailable when the engine cannot work now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether an engine can find one class in one dataset."""

    engine: str
    """``trained_model``, ``open_vocabulary``, ``own_detector`` or ``vision_api``."""
    ready: bool
    why: str
    """What it works with, or what is missing; one sentence."""
    fix: str = ""
    """The cheapest way to what is missing."""
    examples: int | None = None
    """Accepted annotations of the class that it could learn from, where that matters."""
