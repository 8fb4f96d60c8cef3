"""What the prompt benchmark and the calibration share: clicks and boxes as people give them, and figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from scenes import Image, Mask, Scene, SceneObject, jittered_box, scenes

from tintype_studio.vision.protocols import Box, Point

PHOTOS = Path(__file__).parents[1] / "server/tintype_server/demo_photos"


def prompts(first_seed: int, count: int) -> Iterator[tuple[Scene, SceneObject, Box]]:
    """At least ``count`` objects (all of a scene's), each with the box that a person would draw."""
    rng = np.random.default_rng(first_seed)
    for scene in scenes(first_seed, objects=count):
        for item in scene.objects:
            yield scene, item, Box(*jittered_box(rng, item.box))


def first_click(rng: np.random.Generator, mask: Mask) -> Point:
    """Where a person clicks first: well inside, though not exactly in the middle."""
    return _deep_inside(rng, mask, 0.6)


def next_click(rng: np.random.Generator, mask: Mask, truth: Mask) -> tuple[Point, bool] | None:
    """A click into the larger of the two errors, and whether it is a positive one; None if there is none."""
    missing, surplus = truth & ~mask, mask & ~truth
    positive = _depth(missing).max() >= _depth(surplus).max()
    wrong = missing if positive else surplus
    return (_deep_inside(rng, wrong, 0.3), bool(positive)) if wrong.any() else None


def _deep_inside(rng: np.random.Generator, mask: Mask, slack: float) -> Point:
    depth = _depth(mask)
    rows, columns = np.nonzero(depth >= depth.max() * (1 - slack))
    index = int(rng.integers(len(rows)))
    return Point(float(columns[index]) + 0.5, float(rows[index]) + 0.5)


def _depth(mask: Mask) -> NDArray[np.float32]:
    bits = np.pad(mask, 1).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(bits, cv2.DIST_L2, 5)[1:-1, 1:-1], dtype=np.float32)


def photographs() -> Iterator[tuple[str, Image, str, Box]]:
    """The photographs that the package carries: file, picture, and the name and box of each object."""
    for entry in json.loads((PHOTOS / "labels.json").read_text()):
        image = np.asarray(PILImage.open(PHOTOS / entry["file"]).convert("RGB"))
        for item in entry["boxes"]:
            box = item["box"]
            yield entry["file"], image, item["name"], Box(box["x"], box["y"], box["w"], box["h"])


def on_canvas(mask: Mask, offset: tuple[int, int], shape: tuple[int, ...]) -> Mask:
    canvas = np.zeros(shape[:2], np.bool_)
    x, y = offset
    canvas[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return canvas


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def calibration_error(score: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Mean distance of score and IoU over ten bins of equal size."""
    bins = [part for part in np.array_split(np.argsort(score), 10) if len(part)]
    gaps = [abs(score[part].mean() - truth[part].mean()) * len(part) for part in bins]
    return float(sum(gaps) / len(truth))


def report_score(name: str, score: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
    """How well a score foretells the IoU."""
    print(
        f"score of {name}: Spearman {spearman(score, truth):.3f}, bias {np.mean(score - truth):+.3f}, "
        f"calibration error {calibration_error(score, truth):.3f}, MAE {np.abs(score - truth).mean():.3f}"
    )
    parts = np.array_split(np.argsort(score), 5)
    fifths = [f"{score[part].mean():.2f} -> {truth[part].mean():.2f}" for part in parts if len(part)]
    print("  score -> IoU by fifths: " + "  ".join(fifths))
