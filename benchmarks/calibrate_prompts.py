"""Fit the numbers of the embedded engine's scores on generated scenes, and print them; no file is changed.

    python benchmarks/calibrate_prompts.py boxes [--objects N]
    python benchmarks/calibrate_prompts.py points [--objects N]

The scenes are others than those that ``bench_prompts.py`` measures.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
from numpy.typing import NDArray
from prompting import first_click, next_click, on_canvas, prompts, report_score
from scenes import Image, Mask, iou

from tintype_studio.vision.grabcut import GrabCutSegmenter
from tintype_studio.vision.mask_score import terms
from tintype_studio.vision.point_candidates import Candidate, View, views_of
from tintype_studio.vision.point_prompts import Weighed, choose, weigh
from tintype_studio.vision.protocols import Point

FITTED_FROM = 20_000
RIDGE = 1e-3
CLICKS = 3
FIRST = 4

Floats = NDArray[np.float64]
Asked = tuple[Weighed, Floats]
"""The candidates for a prompt, and the IoU of each with the truth."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("boxes", "points"))
    parser.add_argument("--objects", type=int, help="default 1000 for boxes, 360 for points")
    arguments = parser.parse_args()
    if arguments.what == "boxes":
        calibrate_boxes(arguments.objects or 1000)
    else:
        calibrate_points(clicked(arguments.objects or 360))


def calibrate_boxes(count: int) -> None:
    segmenter = GrabCutSegmenter()
    inputs, truth = [], []
    for scene, item, box in prompts(FITTED_FROM, count):
        proposal = segmenter.propose(scene.image, box)
        if proposal is None:
            continue
        inputs.append(terms(proposal.evidence, proposal.agreements))
        truth.append(iou(on_canvas(proposal.mask, proposal.offset, item.mask.shape), item.mask))
    x, y = np.array(inputs), np.array(truth)
    weights = logistic(x, y)
    print(f"WEIGHTS = {printed(weights)}")
    report_score("boxes", 1 / (1 + np.exp(-x @ weights)), y)


def clicked(count: int) -> list[Asked]:
    """One to three clicks per object, each further one into the larger error of the answer so far."""
    rng = np.random.default_rng(FITTED_FROM)
    asked: list[Asked] = []
    for number, (scene, item, _) in enumerate(prompts(FITTED_FROM, count)):
        image, truth_mask = scene.image, item.mask
        if number % 4 == 0:
            image, truth_mask = reduced(image, truth_mask)
        if number % 16 in {1, 5}:
            image, core = cored(rng, image, truth_mask)
            positives = [first_click(rng, core)]
            # A click on a thing in a thing means either; only the further clicks can tell.
            truth_mask = core if number % 16 == 1 else truth_mask
        else:
            positives = [first_click(rng, truth_mask)]
        negatives = list[Point]()
        for _ in range(CLICKS):
            views = views_of(image, positives, negatives)
            weighed = weigh(image, views)
            masks = [on_image(c, views, truth_mask.shape) for c in weighed.candidates]
            asked.append((weighed, np.array([iou(mask, truth_mask) for mask in masks])))
            # Not from the best candidate, but from any of the better ones, as the weights are not known yet.
            order = np.argsort(-asked[-1][1])
            shown = masks[int(order[min(int(rng.integers(0, 8)), len(order) - 1)])]
            correction = next_click(rng, shown, truth_mask)
            if correction is None:
                break
            (positives if correction[1] else negatives).append(correction[0])
    return asked


def calibrate_points(asked: list[Asked]) -> None:
    facts = [np.array([tuple(getattr(e, f) for f in e.__slots__) for e in w.evidence]) for w, _ in asked]
    weights = ranking(facts, [ious for _, ious in asked])
    print(f"PREFERENCE = {printed(weights)}")
    inputs, truth, first = [], [], []
    for weighed, ious in asked:
        places = {id(candidate): index for index, candidate in enumerate(weighed.candidates)}
        for place, answer in enumerate(choose(weighed, weights.tolist())):
            inputs.append(answer.inputs)
            truth.append(ious[places[id(answer.candidate)]])
            first.append(place == 0)
    x, y, chosen = np.array(inputs), np.array(truth), np.array(first)
    # The first answers count for more, as they are what is saved.
    often = np.where(chosen, FIRST, 1)
    model = logistic(x.repeat(often, axis=0), y.repeat(often))
    score = 1 / (1 + np.exp(-x @ model))
    print(f"WEIGHTS = {printed(model)}")
    best = np.mean([ious.max() for _, ious in asked])
    print(f"{len(asked)} prompts: IoU {y[chosen].mean():.3f}, best candidate {best:.3f}")
    report_score("first answers", score[chosen], y[chosen])
    report_score("alternatives", score[~chosen], y[~chosen])


def reduced(image: Image, mask: Mask) -> tuple[Image, Mask]:
    """A third of the size, so that there are objects of a few pixels as well."""
    size = image.shape[1] // 3, image.shape[0] // 3
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small


def cored(rng: np.random.Generator, image: Image, mask: Mask) -> tuple[Image, Mask]:
    """The picture with the inner part of the object in another colour, and that part."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    core = depth > rng.uniform(0.3, 0.6) * depth.max()
    painted = image.astype(np.float64)
    painted[core] = rng.uniform(10, 245, 3) + rng.normal(0, 6, (int(core.sum()), 3))
    soft = cv2.GaussianBlur(painted, (0, 0), 0.7)
    return np.clip(np.round(soft), 0, 255).astype(np.uint8), core


def on_image(candidate: Candidate, views: list[View], shape: tuple[int, ...]) -> Mask:
    left, top, right, bottom = views[candidate.view].window
    soft = cv2.resize(candidate.mask.astype(np.float32), (right - left, bottom - top))
    return on_canvas(soft > 0.5, (left, top), shape)


def logistic(x: Floats, y: Floats) -> Floats:
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


def ranking(facts: list[Floats], ious: list[Floats], steps: int = 400) -> Floats:
    """Weights whose softmax over each prompt's candidates has the largest expected IoU; Adam's steps."""
    x, y = np.concatenate(facts), np.concatenate(ious)
    sizes = np.array([len(part) for part in facts])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    spread = x.std(axis=0) + 1e-9
    scaled = x / spread
    weights, mean, square = (np.zeros(x.shape[1]) for _ in range(3))
    for step in range(1, steps + 1):
        value = scaled @ weights
        raised = np.exp(value - np.repeat(np.maximum.reduceat(value, starts), sizes))
        share = raised / np.repeat(np.add.reduceat(raised, starts), sizes)
        expected = np.add.reduceat(share * y, starts)
        slope = scaled.T @ (share * (y - np.repeat(expected, sizes))) / len(sizes) - RIDGE * weights
        mean = 0.9 * mean + 0.1 * slope
        square = 0.99 * square + 0.01 * slope**2
        weights += 0.05 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return np.asarray(weights / spread)


def printed(weights: Floats) -> str:
    return "(" + ", ".join(f"{weight:.2f}" for weight in weights) + ")"


if __name__ == "__main__":
    main()
