"""A small network in numpy that says of a window which class it shows and how it should move.

One hidden layer of rectified units; the outputs are ``classes + 1`` class scores, the last for the
background, and four box deltas. Trained by Adam (Kingma and Ba, 2015) with a cosine schedule, decoupled
weight decay and input dropout; single precision, deterministic for a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Array = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.floating]

BATCH = 128
RATE = 2e-3
DECAY = 3e-3
DROPPED = 0.4
"""Share of the inputs left out at random, so that no few of them decide alone."""
LARGEST_BOX_ERROR = 0.3
"""A box error counts in proportion up to here; windows far off must not drown the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Weights: ``(inputs, hidden)``, ``(hidden,)``, ``(hidden, classes + 5)``, ``(classes + 5,)``."""

    first: Array
    first_bias: Array
    second: Array
    second_bias: Array

    @property
    def classes(self) -> int:
        """Classes without the background."""
        return len(self.second_bias) - 5

    def after_first(self, hidden: Floats) -> tuple[Floats, Floats]:
        """Probabilities (n, classes + 1) and deltas (n, 4) from the hidden units before rectification."""
        out = np.maximum(hidden, 0) @ self.second + self.second_bias
        return softmax(out[:, : self.classes + 1]), out[:, self.classes + 1 :]

    def __call__(self, features: Array) -> tuple[Floats, Floats]:
        """Probabilities (n, classes + 1) and deltas (n, 4) of feature vectors (n, inputs).

        In double precision: near certainty the order of probabilities needs more digits than single has.
        """
        return self.after_first((features @ self.first + self.first_bias).astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What to learn: features (n, inputs), class of each (``classes`` for the background), box deltas."""

    features: Array
    labels: Labels
    deltas: Array

    @classmethod
    def joined(cls, parts: list[Lessons]) -> Lessons:
        """All of them."""
        return cls(
            np.concatenate([p.features for p in parts]),
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.deltas for p in parts]),
        )


def train(
    lessons: Lessons,
    classes: int,
    *,
    hidden: int,
    epochs: int,
    rng: np.random.Generator,
    check: Callable[[], None],
) -> Network:
    """Fit a network. ``check`` is called once per epoch and may raise to stop."""
    x, y = lessons.features, lessons.labels
    mean, spread = x.mean(axis=0), x.std(axis=0) + np.float32(0.05)
    x = (x - mean) / spread
    weights = _weights(y, classes)
    outputs = classes + 5
    sizes = ((x.shape[1], hidden), (hidden, outputs))
    parameters: list[Array] = []
    for size in sizes:
        parameters.append(rng.normal(0, math.sqrt(2 / size[0]), size).astype(np.float32))
        parameters.append(np.zeros(size[1], np.float32))
    optimizer = _Adam(parameters, steps=epochs * (len(x) // BATCH + 1))
    for _ in range(epochs):
        check()
        for chosen in np.array_split(rng.permutation(len(x)), len(x) // BATCH + 1):
            batch = x[chosen]
            batch = batch * (rng.random(batch.shape, dtype=np.float32) > DROPPED) / np.float32(1 - DROPPED)
            optimizer.step(
                _gradients(parameters, batch, y[chosen], lessons.deltas[chosen], weights[chosen], classes)
            )
    first, first_bias, second, second_bias = parameters
    # The standardisation becomes a part of the first layer.
    return Network(first / spread[:, None], first_bias - (mean / spread) @ first, second, second_bias)


def softmax(scores: Floats) -> Floats:
    """Probabilities of each row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _weights(labels: Labels, classes: int) -> Array:
    """Rare classes count more, and all of the background at most twice as much as all objects."""
    objects = labels < classes
    share = 2 * objects.sum() / max(1, int((~objects).sum()))
    weights = np.where(objects, 1.0, min(1.0, share)).astype(np.float32)
    counts = np.bincount(labels[objects], minlength=classes)
    rarity = np.sqrt(counts[counts > 0].mean() / np.maximum(counts, 1))
    weights[objects] *= np.clip(rarity, 0.3, 3)[labels[objects]]
    return weights


def _gradients(
    parameters: list[Array], batch: Array, labels: Labels, targets: Array, weights: Array, classes: int
) -> list[Array]:
    first, first_bias, second, second_bias = parameters
    inner = np.maximum(batch @ first + first_bias, 0)
    out = inner @ second + second_bias
    error = np.empty_like(out)
    chances = softmax(out[:, : classes + 1])
    chances[np.arange(len(labels)), labels] -= 1
    error[:, : classes + 1] = chances * weights[:, None]
    away = np.clip(out[:, classes + 1 :] - targets, -LARGEST_BOX_ERROR, LARGEST_BOX_ERROR)
    error[:, classes + 1 :] = 2 * away * (labels < classes)[:, None]
    error /= len(labels)
    back = (error @ second.T) * (inner > 0)
    return [batch.T @ back, back.sum(axis=0), inner.T @ error, error.sum(axis=0)]


class _Adam:
    """Changes the parameters in place."""

    def __init__(self, parameters: list[Array], *, steps: int) -> None:
        self._parameters = parameters
        self._means = [np.zeros_like(p) for p in parameters]
        self._squares = [np.zeros_like(p) for p in parameters]
        self._steps, self._done = steps, 0

    def step(self, gradients: list[Array]) -> None:
        self._done += 1
        rate = RATE * 0.5 * (1 + math.cos(math.pi * self._done / self._steps))
        for index, gradient in enumerate(gradients):
            mean, square, parameter = self._means[index], self._squares[index], self._parameters[index]
            np.add(mean, np.float32(0.1) * (gradient - mean), out=mean)
            np.add(square, np.float32(0.01) * (gradient * gradient - square), out=square)
            size = np.sqrt(square / np.float32(1 - 0.99**self._done)) + np.float32(1e-7)
            kept = np.float32(1 - rate * DECAY if parameter.ndim > 1 else 1)
            step = np.float32(rate) * (mean / np.float32(1 - 0.9**self._done)) / size
            np.subtract(kept * parameter, step, out=parameter)
