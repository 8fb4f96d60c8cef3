"""How good and how fast box and point prompts are, beside plain OpenCV GrabCut on the whole picture.

    python benchmarks/bench_prompts.py [--boxes N] [--objects N] [--quick]

Generated scenes with known truth, others than those that the scores were fitted on, and the photographs
that the package carries. Of these only the round objects are used, whose truth is the ellipse in their
labelled box. Boxes are jittered by 4 %. Clicks: the first well inside the object, each further one into the
larger error of the answer so far, for each method by its own answers. Times are medians per prompt.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from _common import milliseconds, print_result
from numpy.typing import NDArray
from prompting import (
    calibration_error,
    first_click,
    next_click,
    on_canvas,
    photographs,
    prompts,
    report_score,
    spearman,
)
from scenes import Image, Mask, iou, jittered_box, tight_box

from tintype_studio.vision.grabcut import GrabCutSegmenter
from tintype_studio.vision.protocols import Box, Point

MEASURED_FROM = 1_000_000
CLICKS = 3
ROUND = {"patch", "eye", "coffee", "coin", "retina"}

OURS, PLAIN, ITSELF = "ours", "GrabCut, whole picture", "the box itself"
Answer = tuple[Mask, float]
Seen = dict[tuple[str, str], list[tuple[float, float, float]]]
"""By method and prompt: IoU, score and seconds of each answer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, default=200, help="objects for boxes")
    parser.add_argument("--objects", type=int, default=60, help="objects for clicks")
    parser.add_argument(
        "--quick", action="store_true", help="10 objects for boxes, 5 for clicks, every other photograph"
    )
    arguments = parser.parse_args()
    seen: Seen = defaultdict(list)
    measure_boxes(seen, 10 if arguments.quick else arguments.boxes)
    measure_clicks(seen, 5 if arguments.quick else arguments.objects)
    measure_photographs(seen, 2 if arguments.quick else 1)
    report(seen)


def measure_boxes(seen: Seen, count: int) -> None:
    for scene, item, box in prompts(MEASURED_FROM, count):
        for name, method in ((ITSELF, the_box), (PLAIN, plain_box), (OURS, our_box)):
            ask(seen, name, "box", lambda m=method, s=scene, b=box: m(s.image, b), item.mask)


def measure_clicks(seen: Seen, count: int) -> None:
    for scene, item, _ in prompts(MEASURED_FROM + 500_000, count):
        for name, method in ((PLAIN, plain_points), (OURS, our_points)):
            click_through(seen, name, method, scene.image, item.mask, CLICKS, "")


def measure_photographs(seen: Seen, every: int) -> None:
    rng = np.random.default_rng(7)
    objects = [(image, box) for _, image, name, box in photographs() if name in ROUND]
    for image, labelled in objects[::every]:
        truth = np.zeros(image.shape[:2], np.uint8)
        centre = labelled.x + labelled.w / 2, labelled.y + labelled.h / 2
        cv2.ellipse(truth, (centre, (labelled.w, labelled.h), 0), 1, -1)
        mask = truth > 0
        box = Box(*jittered_box(rng, tight_box(mask)))
        for method_name, method in ((ITSELF, the_box), (PLAIN, plain_box), (OURS, our_box)):
            ask(seen, method_name, "photograph, box", lambda m=method, i=image, b=box: m(i, b), mask)
        for method_name, clicked in ((PLAIN, plain_points), (OURS, our_points)):
            click_through(seen, method_name, clicked, image, mask, 2, "photograph, ")


def click_through(
    seen: Seen,
    name: str,
    method: Callable[[Image, Sequence[Point], Sequence[Point]], Answer],
    image: Image,
    truth: Mask,
    clicks: int,
    prefix: str,
) -> None:
    rng = np.random.default_rng(int(truth.sum()))
    positives, negatives = [first_click(rng, truth)], list[Point]()
    for number in range(1, clicks + 1):
        prompt = f"{prefix}{number} click{'s' if number > 1 else ''}"
        mask = ask(seen, name, prompt, lambda: method(image, positives, negatives), truth)
        correction = next_click(rng, mask, truth)
        if correction is None:
            return
        (positives if correction[1] else negatives).append(correction[0])


def ask(seen: Seen, method: str, prompt: str, work: Callable[[], Answer], truth: Mask) -> Mask:
    start = time.perf_counter()
    mask, score = work()
    seen[method, prompt].append((iou(mask, truth), score, time.perf_counter() - start))
    return mask


def report(seen: Seen) -> None:
    rows, ratios = [], {}
    for prompt in dict.fromkeys(prompt for _, prompt in seen):
        slow = float(np.median(np.array(seen[PLAIN, prompt])[:, 2]))
        for method in (ITSELF, PLAIN, OURS):
            if (method, prompt) not in seen:
                continue
            values = np.array(seen[method, prompt])
            seconds = float(np.median(values[:, 2]))
            rows.append(
                (
                    prompt,
                    method,
                    str(len(values)),
                    f"{values[:, 0].mean():.3f}",
                    f"{np.median(values[:, 0]):.3f}",
                    milliseconds(seconds),
                    f"{seconds / slow:.2f}",
                )
            )
            if method == OURS:
                plain = np.array(seen[PLAIN, prompt])[:, 0].mean()
                key = prompt.replace(", ", "_").replace(" ", "_")
                ratios |= {f"{key}_time": seconds / slow, f"{key}_iou": values[:, 0].mean() / plain}
    scores = {
        "boxes": values_of(seen, ["box"]),
        "clicks": values_of(seen, [f"{n} click{'s' if n > 1 else ''}" for n in range(1, CLICKS + 1)]),
        "photographs": values_of(seen, [prompt for _, prompt in seen if prompt.startswith("photo")]),
    }
    for name, values in scores.items():
        ratios[f"{name}_spearman"] = spearman(values[:, 1], values[:, 0])
        ratios[f"{name}_calibration_error"] = calibration_error(values[:, 1], values[:, 0])
        report_score(name, values[:, 1], values[:, 0])
    header = ("prompt", "method", "answers", "mean IoU", "median", "time", "ratio")
    print_result("prompts", header, rows, **ratios)


def values_of(seen: Seen, chosen: Sequence[str]) -> NDArray[np.float64]:
    return np.array([value for prompt in dict.fromkeys(chosen) for value in seen.get((OURS, prompt), [])])


def the_box(image: Image, box: Box) -> Answer:
    mask = np.zeros(image.shape[:2], np.bool_)
    left, top, right, bottom = corners(image, box)
    mask[top:bottom, left:right] = True
    return mask, 0.0


def plain_box(image: Image, box: Box) -> Answer:
    """What OpenCV's tutorial does: the whole image, the rectangle as the start, five iterations."""
    left, top, right, bottom = corners(image, box)
    labels = np.zeros(image.shape[:2], np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    rectangle = (left, top, right - left, bottom - top)
    cv2.setRNGSeed(1)
    cv2.grabCut(image[..., ::-1].copy(), labels, rectangle, *models, 5, cv2.GC_INIT_WITH_RECT)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), 0.0


def plain_points(image: Image, positives: Sequence[Point], negatives: Sequence[Point]) -> Answer:
    """The tutorial's second form: strokes for inside and outside, the rest left open."""
    radius = max(3, round(0.02 * min(image.shape[:2])))
    labels = np.full(image.shape[:2], cv2.GC_PR_BGD, np.uint8)
    for points, value in ((positives, cv2.GC_FGD), (negatives, cv2.GC_BGD)):
        for point in points:
            cv2.circle(labels, point.pixel, radius, value, cv2.FILLED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    cv2.grabCut(image[..., ::-1].copy(), labels, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    inside = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts = cv2.connectedComponents(inside)
    return np.isin(parts, [parts[y, x] for x, y in (p.pixel for p in positives)]) & (inside > 0), 0.0


def our_box(image: Image, box: Box) -> Answer:
    segment = GrabCutSegmenter().segment_box(image, box)
    if segment is None:
        return np.zeros(image.shape[:2], np.bool_), 0.0
    return on_canvas(segment.mask, segment.offset, image.shape), segment.score


def our_points(image: Image, positives: Sequence[Point], negatives: Sequence[Point]) -> Answer:
    segment = GrabCutSegmenter().segment_points(image, positives, negatives)[0]
    return on_canvas(segment.mask, segment.offset, image.shape), segment.score


def corners(image: Image, box: Box) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    return (
        max(0, round(box.x)),
        max(0, round(box.y)),
        min(width, round(box.x + box.w)),
        min(height, round(box.y + box.h)),
    )


if __name__ == "__main__":
    main()
