"""How good and how fast box prompts are, beside plain OpenCV GrabCut, on generated scenes with known truth.

    python benchmarks/bench_box_prompt.py [--objects N]
    python benchmarks/bench_box_prompt.py --calibrate [--objects N]

The first form prints a table and how well the score foretells the IoU; times are medians per object on this
machine, and the ratio to GrabCut on the full image in the same run is what to compare between machines.
The second fits the numbers that ``mask_score`` holds, on other scenes than the first measures, and prints
them; it changes no file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from scenes import Image, Mask, Scene, SceneObject, iou, jittered_box, scenes

from tintype_studio.vision.grabcut import GrabCutSegmenter
from tintype_studio.vision.mask_score import terms
from tintype_studio.vision.protocols import Box

MEASURED_FROM, FITTED_FROM = 1_000_000, 20_000
RIDGE = 1e-3

Method = Callable[[Image, Box], tuple[Mask, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, help="default 300, or 1500 with --calibrate")
    parser.add_argument("--quick", action="store_true", help="12 objects")
    parser.add_argument("--calibrate", action="store_true", help="fit the score's numbers and print them")
    arguments = parser.parse_args()
    if arguments.calibrate:
        calibrate(arguments.objects or 1500)
    else:
        measure(arguments.objects or (12 if arguments.quick else 300))


def measure(count: int) -> None:
    methods: dict[str, Method] = {
        "the box itself": the_box,
        "GrabCut, full image": full_grabcut,
        "ours": ours,
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for scene, item, box in prompts(MEASURED_FROM, count):
        for name, method in methods.items():
            start = time.perf_counter()
            mask, score = method(scene.image, box)
            seconds[name].append(time.perf_counter() - start)
            found[name].append((iou(mask, item.mask), score, item.contrast))
    slow = float(np.median(seconds["GrabCut, full image"]))
    print(f"{len(found['ours'])} objects, boxes jittered by 4 %\n")
    print(f"{'':22}{'mean IoU':>9}{'median':>8}{'> 0.8':>7}{'ms':>8}{'time':>8}")
    for name in methods:
        values = np.array(found[name])[:, 0]
        median = float(np.median(seconds[name]))
        print(
            f"{name:22}{values.mean():9.3f}{np.median(values):8.3f}{(values > 0.8).mean():7.2f}"
            f"{median * 1e3:8.1f}{median / slow:8.3f}"
        )
    report_score(np.array(found["ours"]))


def report_score(found: NDArray[np.float64]) -> None:
    truth, score = found[:, 0], found[:, 1]
    order = np.argsort(score)
    bins = [part for part in np.array_split(order, 10) if len(part)]
    gaps = [abs(score[part].mean() - truth[part].mean()) * len(part) for part in bins]
    print(f"\nscore: Spearman {spearman(score, truth):.3f}, bias {np.mean(score - truth):+.3f}", end="")
    print(f", calibration error {sum(gaps) / len(truth):.3f}, MAE {np.abs(score - truth).mean():.3f}")
    fifths = [(f"{score[part].mean():.2f}", f"{truth[part].mean():.2f}") for part in np.array_split(order, 5)]
    print("score -> IoU by fifths: " + "  ".join(f"{s} -> {t}" for s, t in fifths))
    for contrast in np.unique(found[:, 2]):
        chosen = found[:, 2] == contrast
        print(f"  colour distance {contrast:3.0f}: IoU {truth[chosen].mean():.3f}", end="")
        print(f", score {score[chosen].mean():.3f}, n {chosen.sum()}")


def calibrate(count: int) -> None:
    segmenter = GrabCutSegmenter()
    inputs, truth, contrasts = [], [], []
    for scene, item, box in prompts(FITTED_FROM, count):
        proposal = segmenter.propose(scene.image, box)
        if proposal is None:
            continue
        inputs.append(terms(proposal.rivals))
        truth.append(iou(on_canvas(proposal.mask, proposal.offset, item.mask.shape), item.mask))
        contrasts.append(item.contrast)
    x, y = np.array(inputs), np.array(truth)
    weights = logistic(x, y)
    modelled = 1 / (1 + np.exp(-x @ weights))
    print("WEIGHTS = (" + ", ".join(f"{weight:.3f}" for weight in weights) + ")")
    report_score(np.stack([y, modelled, np.array(contrasts)], axis=1))


def logistic(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of a logistic model of a fraction, by Newton's method; the last column of x is the constant."""
    spread = np.append(x[:, :-1].std(axis=0), 1.0)
    scaled = x / spread
    penalty = np.append(np.full(x.shape[1] - 1, RIDGE), 0.0)
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-scaled @ weights))
        gradient = scaled.T @ (p - y) / len(y) + penalty * weights
        curvature = (scaled * (p * (1 - p))[:, None]).T @ scaled / len(y) + np.diag(penalty)
        weights -= np.linalg.solve(curvature, gradient)
    return np.asarray(weights / spread)


def prompts(first_seed: int, count: int) -> Iterator[tuple[Scene, SceneObject, Box]]:
    """At least ``count`` objects (all of a scene's), each with the box that a person would draw."""
    rng = np.random.default_rng(first_seed)
    for scene in scenes(first_seed, objects=count):
        for item in scene.objects:
            yield scene, item, Box(*jittered_box(rng, item.box))


def the_box(image: Image, box: Box) -> tuple[Mask, float]:
    mask = np.zeros(image.shape[:2], np.bool_)
    left, top, right, bottom = corners(image, box)
    mask[top:bottom, left:right] = True
    return mask, 0.0


def full_grabcut(image: Image, box: Box) -> tuple[Mask, float]:
    """What OpenCV's tutorial does: the whole image, the rectangle as the start, five iterations."""
    left, top, right, bottom = corners(image, box)
    labels = np.zeros(image.shape[:2], np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    rectangle = (left, top, right - left, bottom - top)
    cv2.setRNGSeed(1)
    cv2.grabCut(image[..., ::-1].copy(), labels, rectangle, *models, 5, cv2.GC_INIT_WITH_RECT)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), 0.0


def ours(image: Image, box: Box) -> tuple[Mask, float]:
    segment = GrabCutSegmenter().segment_box(image, box)
    if segment is None:
        return np.zeros(image.shape[:2], np.bool_), 0.0
    return on_canvas(segment.mask, segment.offset, image.shape[:2]), segment.score


def corners(image: Image, box: Box) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    return (
        max(0, round(box.x)),
        max(0, round(box.y)),
        min(width, round(box.x + box.w)),
        min(height, round(box.y + box.h)),
    )


def on_canvas(mask: Mask, offset: tuple[int, int], shape: tuple[int, ...]) -> Mask:
    canvas = np.zeros(shape, np.bool_)
    x, y = offset
    canvas[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return canvas


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
