"""What turns pictures into vectors, and which one this process uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tintype_studio.vision.tags import Tag


@runtime_checkable
class Embedder(Protocol):
    """Turns pictures into vectors whose cosine says how alike the pictures are. Thread-safe."""

    @property
    def name(self) -> str:
        """Name and version, kept with every vector; another one makes other vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        ...

    @property
    def side(self) -> int:
        """Longest side, in pixels, that it makes use of."""
        ...

    def embed(self, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(n, dimensions) float32 of length one, for n pictures of (h, w, 3) uint8 RGB."""
        ...


@runtime_checkable
class SceneNamer(Protocol):
    """An embedder whose vectors also tell which scenes the pictures show. Thread-safe."""

    @property
    def scenes_name(self) -> str | None:
        """Stands for model and vocabulary, 12 characters; None where the model cannot name scenes."""
        ...

    @property
    def scenes_problem(self) -> str | None:
        """Why it cannot, to follow "names no scenes: "; None where it can."""
        ...

    def scenes(self, vectors: NDArray[np.float32]) -> list[list[Tag]]:
        """For each of (n, dimensions) vectors its scenes, likeliest first; none once it turns out unable."""
        ...


def make_embedder(model: str | None, cache: Path | None = None) -> Embedder:
    """The embedded descriptor, or the SigLIP model of a local folder or hub id.

    ``cache`` is a folder for what need not be computed again in another process.
    Raises ``Unavailable`` with a code and a fix if the model cannot be used.
    """
    if model is None:
        from tintype_studio.vision.descriptors import LayoutEmbedder

        return LayoutEmbedder()
    from tintype_studio.vision.siglip import SiglipEmbedder

    return SiglipEmbedder(model, cache)
