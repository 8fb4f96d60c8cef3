"""What a tracker must offer. Importing this module loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@runtime_checkable
class Tracker(Protocol):
    """Tells which detections are the same object, frame by frame, and at the end what it knows better."""

    def update(
        self,
        timestamp_us: int,
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        labels: NDArray[np.integer],
        looks: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.int64]:
        """A track's id, from 1, for each detection of the next frame; 0 for those that belong to none.

        ``boxes`` are ``[N, 4]`` (left, top, right, bottom in pixels), ``scores`` and ``labels`` ``[N]``,
        ``looks`` ``[N, L]`` as ``looks.look_of`` gives them. Times rise from call to call, by any steps; a
        frame without detections is told, too.
        """
        ...

    def settled(self) -> dict[int, int]:
        """After the last frame: the object of each track. Tracks that are no object after all are missing;
        two tracks of one object, with an absence between them, have the id of the first.
        """
        ...
