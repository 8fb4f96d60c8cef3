"""Batches of training views, made ahead of time in a thread.

A batch is a function of seed, epoch and place alone, never of timing: an epoch that is trained again sees the
same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train.augment import Augmenter
from tintype_studio.vision.train.config import TrainConfig
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.protocol import Target

AHEAD = 3
"""Batches that wait, for each thread that makes them."""

LEAST_IMAGES = 128
"""That an epoch shows; a smaller set is shown several times, else an epoch would be a step or two."""

Batch = tuple[NDArray[np.uint8], list[Target]]


@dataclass(frozen=True, slots=True)
class Batches:
    """The training images of one epoch in random order."""

    data: PreparedData
    task: Task
    config: TrainConfig
    epoch: int

    def order(self) -> list[int]:
        """Images in the order in which they are shown."""
        train = self.data.splits["train"]
        rng = np.random.default_rng((self.config.seed, self.epoch))
        rounds = -(-LEAST_IMAGES // len(train)) if len(train) < LEAST_IMAGES else 1
        return [train[i] for _ in range(rounds) for i in rng.permutation(len(train))]

    def make(self, indices: Sequence[int], place: int, mosaic: float) -> Batch:
        """``[N, S, S, 3]`` uint8 and targets; ``place`` is that of its first image in the order."""
        rng = np.random.default_rng((self.config.seed, self.epoch, place))
        squares = np.empty((len(indices), self.data.size, self.data.size, 3), np.uint8)
        targets = []
        augmenter = Augmenter(self.data, self.task, self.config.flip, mosaic)
        for row, index in enumerate(indices):
            if self.config.augment:
                squares[row], target = augmenter.view(index, rng)
            else:
                squares[row], target = self.data.image(index), self.data.target(index)
            targets.append(target)
        return squares, targets

    def run(self, batch_size: int, mosaic: float, start: int = 0, *, makers: int = 1) -> Generator[Batch]:
        """From place ``start`` of the order on, in batches of one size: the last is filled up from the
        beginning. ``makers`` threads make them.
        """
        order = self.order()
        size = min(batch_size, len(order))
        places = range(start, len(order), size)
        cv2.setNumThreads(1)  # the cores belong to the network
        pool = ThreadPoolExecutor(makers, "batches")
        waiting: deque[Future[Batch]] = deque()
        try:
            for place in places:
                indices = [order[(place + k) % len(order)] for k in range(size)]
                waiting.append(pool.submit(self.make, indices, place, mosaic))
                if len(waiting) > AHEAD * makers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
