"""Turns a detector's raw scores into the chance that a detection is right.

Right means: of this class, and overlapping an object by at least one half. The chance is a logistic model
of the raw score's logit (Platt, 1999), fitted on images that the judged detector had not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RIDGE = 1.0
"""How strongly the fit holds to ``PRIOR``; in detections."""
PRIOR = (0.7, -1.0)
"""Slope and offset believed before anything was seen: raw scores of a detector with few examples are vain."""
ITERATIONS = 30


@dataclass(frozen=True, slots=True)
class ClassReport:
    """How well a class is found on labelled images that were held out.

    ``precision`` and ``recall`` hold at a score of one half; ``judged`` is the number of its objects there.
    """

    judged: int
    precision: float | None
    recall: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """``chance = sigmoid(slope * logit(raw) + offset)``, and what was seen when it was fitted."""

    slope: float
    offset: float
    reports: tuple[ClassReport, ...]

    @classmethod
    def cautious(cls, classes: int) -> Calibration:
        """For a detector of which nothing was seen."""
        return cls(*PRIOR, tuple(ClassReport(0, None, None, None) for _ in range(classes)))

    def chance(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Chances, in the order of the raw scores."""
        return np.asarray(_sigmoid(self.slope * _logit(raw) + self.offset))


def fit_calibration(raw: Sequence[float], right: Sequence[bool]) -> tuple[float, float]:
    """Slope and offset, by Newton's method with a Gaussian prior."""
    x = np.stack([_logit(np.asarray(raw, float)), np.ones(len(raw))], axis=1)
    y = np.asarray(right, float)
    prior = np.array(PRIOR)

    def cost(weights: NDArray[np.float64]) -> float:
        z = x @ weights
        return float(np.logaddexp(0, z).sum() - y @ z + RIDGE / 2 * ((weights - prior) ** 2).sum())

    weights = prior.copy()
    for _ in range(ITERATIONS):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - y) + RIDGE * (weights - prior)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(2)
        step, now = np.linalg.solve(curvature, gradient), cost(weights)
        share = 1.0
        while share > 1e-4 and cost(weights - share * step) > now:  # far from the optimum, a step overshoots
            share /= 2
        weights = weights - share * step
    # A negative slope would turn the order of detections round.
    return max(float(weights[0]), 0.05), float(weights[1])


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))))
