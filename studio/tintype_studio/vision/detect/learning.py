"""From a dataset's accepted annotations to a calibrated detector, as bytes that can be kept.

The detector that is returned learned from all labelled images; its scores are calibrated on what detectors
that saw only a part of them found on the rest.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.detect.boxes import Boxes, overlaps
from tintype_studio.vision.detect.calibration import Calibration, ClassReport, fit_calibration
from tintype_studio.vision.detect.learning_version import VERSION
from tintype_studio.vision.detect.network import Network
from tintype_studio.vision.detect.own import FULL, REHEARSAL, Effort, OwnDetector, calibrated, fit
from tintype_studio.vision.detect.search import Shapes
from tintype_studio.vision.detect.views import LabelledImage

RIGHT = 0.5
MANY_IMAGES = 30
"""From here on, a third of the images held out once is enough to calibrate on."""
FEW_IMAGES = 12
"""Up to so many images, each fourth of them is held out in turn; beyond, each third."""
RECALL_STEPS = 101


@dataclass(frozen=True, slots=True)
class _Found:
    label: int
    raw: float
    right: bool


def learn(
    labelled: Sequence[LabelledImage],
    classes: Sequence[str],
    *,
    seed: int = 0,
    effort: Effort = FULL,
    rehearsal: Effort = REHEARSAL,
    check: Callable[[], None] = lambda: None,
) -> OwnDetector:
    """Train with ``effort``, and calibrate by detectors trained with ``rehearsal``.

    The same images in the same order give the same detector: on one machine to the last digit, elsewhere up
    to rounding.
    """
    detector = fit(labelled, classes, seed=seed, effort=effort, check=check)
    return calibrated(detector, _cross_validated(labelled, classes, seed, rehearsal, check))


def _cross_validated(
    labelled: Sequence[LabelledImage],
    classes: Sequence[str],
    seed: int,
    rehearsal: Effort,
    check: Callable[[], None],
) -> Calibration:
    order = np.random.default_rng(seed).permutation(len(labelled))
    if len(labelled) >= MANY_IMAGES:
        folds = [order[: len(labelled) // 3]]
    else:
        # With few images, a detector that lacks half of them says little about one that saw all.
        parts = 4 if len(labelled) <= FEW_IMAGES else 3
        folds = [part for part in np.array_split(order, parts) if len(part)]
    found: list[_Found] = []
    objects = np.zeros(len(classes), np.int64)
    for fold in folds:
        held = {int(k) for k in fold}
        rest = [each for k, each in enumerate(labelled) if k not in held]
        if not any(len(each.boxes) for each in rest):
            continue
        judge = fit(rest, classes, seed=seed, effort=rehearsal, check=check)
        for k in sorted(held):
            check()
            objects += np.bincount(labelled[k].labels, minlength=len(classes))
            found += _judged(labelled[k], *judge.look(labelled[k].image))
    if not found:
        return Calibration.cautious(len(classes))
    slope, offset = fit_calibration([f.raw for f in found], [f.right for f in found])
    fitted = Calibration(slope, offset, ())
    reports = tuple(
        _report([f for f in found if f.label == label], int(objects[label]), fitted)
        for label in range(len(classes))
    )
    return Calibration(slope, offset, reports)


def _judged(
    truth: LabelledImage, boxes: Boxes, labels: NDArray[np.int64], raw: NDArray[np.float64]
) -> list[_Found]:
    """Which of the findings on an image, best first, are right; those on unknown things do not count."""
    taken = np.zeros(len(truth.boxes), bool)
    found = []
    near = overlaps(boxes, truth.boxes) if len(truth.boxes) else np.zeros((len(boxes), 0))
    blurred = overlaps(boxes, truth.unknown).max(axis=1) if len(truth.unknown) else np.zeros(len(boxes))
    for row, label, score, doubt in zip(near, labels, raw, blurred, strict=True):
        fits = np.where((truth.labels == label) & ~taken, row, 0)
        right = bool(len(fits) and fits.max() >= RIGHT)
        if right:
            taken[int(fits.argmax())] = True
        elif doubt >= RIGHT:
            continue
        found.append(_Found(int(label), float(score), right))
    return found


def _report(found: Sequence[_Found], objects: int, calibration: Calibration) -> ClassReport:
    if not objects:
        return ClassReport(0, None, None, None)
    ordered = sorted(found, key=lambda f: -f.raw)
    chances = calibration.chance(np.array([f.raw for f in ordered]))
    sure = [f.right for f, chance in zip(ordered, chances, strict=True) if chance >= 0.5]
    return ClassReport(
        objects,
        round(sum(sure) / len(sure), 4) if sure else None,
        round(sum(sure) / objects, 4),
        average_precision([f.right for f in ordered], objects),
    )


def average_precision(right: Sequence[bool], objects: int) -> float:
    """Area under the precision-recall curve, best first, sampled at 101 recalls as COCO does."""
    if not right:
        return 0.0
    hits = np.cumsum(right)
    recall, precision = hits / objects, hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, RECALL_STEPS))
    return round(float(np.append(precision, 0.0)[np.minimum(at, len(precision))].mean()), 4)


def to_bytes(detector: OwnDetector) -> bytes:
    """A detector as a numpy archive."""
    out = io.BytesIO()
    weights = {
        f"{stage}_{part}": getattr(network, part)
        for stage, network in (("coarse", detector.coarse), ("fine", detector.fine))
        for part in ("first", "first_bias", "second", "second_bias")
    }
    reports = [[np.nan if v is None else v for v in astuple(r)] for r in detector.calibration.reports]
    np.savez_compressed(
        out,
        version=VERSION,
        classes=np.array(detector.classes),
        sizes=np.array(detector.shapes.sizes),
        calibration=np.array([detector.calibration.slope, detector.calibration.offset]),
        reports=np.array(reports, float).reshape(-1, 4),
        **weights,
    )
    return out.getvalue()


def from_bytes(data: bytes) -> OwnDetector | None:
    """The detector that ``to_bytes`` wrote; None if the bytes are damaged or of another version."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            if int(kept["version"]) != VERSION:
                return None
            networks = [
                Network(*(kept[f"{stage}_{p}"] for p in ("first", "first_bias", "second", "second_bias")))
                for stage in ("coarse", "fine")
            ]
            reports = tuple(
                ClassReport(int(row[0]), *(None if np.isnan(v) else float(v) for v in row[1:]))
                for row in kept["reports"]
            )
            slope, offset = (float(v) for v in kept["calibration"])
            return OwnDetector(
                tuple(str(name) for name in kept["classes"]),
                Shapes(tuple((float(w), float(h)) for w, h in kept["sizes"])),
                networks[0],
                networks[1],
                Calibration(slope, offset, reports),
            )
    except Exception:  # a file half written, or of another kind: it is made again
        return None
