"""The learning rate: up, then down along half a cosine, over what ends first, epochs or minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass

WARM_UP = 0.04
"""Share of the training."""
LAST = 0.02
"""Share of the learning rate that is left in the end."""
CLOSING = 0.85
"""From this share of the training on no mosaics are shown: the last views are like real pictures."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Where in the whole training an epoch stands."""

    epochs: int
    number: int
    """Of the epoch, from 1."""
    spent: float
    """Seconds of training before this epoch."""
    seconds_left: float
    """At the epoch's start; infinite where only epochs count."""

    def progress(self, share: float, seconds: float) -> float:
        """0 to 1, after a ``share`` of the epoch that took ``seconds``: by epochs or by time, whichever is
        further.
        """
        by_epochs = (self.number - 1 + share) / self.epochs
        by_time = (self.spent + seconds) / max(self.spent + self.seconds_left, 1e-9)
        return min(1.0, max(by_epochs, by_time))


def rate(progress: float) -> float:
    """Factor of the learning rate."""
    warm = min(1.0, (progress + 0.1 * WARM_UP) / WARM_UP)
    return warm * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * progress)))
