"""Synthetic scenes with known truth: textured objects over textured, noisy, cluttered backgrounds.

Every scene is a function of its seed alone. Objects have a class (their shape), an exact mask of what is
visible of them, and the tight box of that mask. They may be flat, bordered, shaded, striped or speckled,
may have a real hole, may be partly hidden by another object or by a bar that is nobody's object, and some
have nearly the background's colour: a scene set is meant to hold easy, ordinary and hard cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SHAPES = ("disc", "rectangle", "triangle", "octagon", "star", "ring", "blob", "arrow")
FILLS = ("flat", "bordered", "shaded", "striped", "speckled")

MIN_VISIBLE_PIXELS = 400
MIN_VISIBLE_SHARE = 0.55
"""An object of which less can be seen is left unlabelled: no person would draw it."""


@dataclass(frozen=True)
class SceneObject:
    """One labelled object: ``mask`` is (H, W) bool, ``box`` is (x, y, w, h) around it in whole pixels."""

    name: str
    mask: Mask
    box: tuple[int, int, int, int]
    occluded: float
    contrast: float


@dataclass(frozen=True)
class Scene:
    """An (H, W, 3) uint8 RGB image and what is in it."""

    image: Image
    objects: tuple[SceneObject, ...]


def make_scene(seed: int, *, size: tuple[int, int] | None = None, count: int | None = None) -> Scene:
    """Draw scene number ``seed``.

    ``size`` is (width, height) in pixels, by default random within 320 to 640; ``count`` is the number of
    objects to place, by default 1 to 4. Objects hidden for the most part are drawn but not listed.
    """
    rng = np.random.default_rng(seed)
    width, height = size or (int(rng.integers(320, 641)), int(rng.integers(320, 641)))
    canvas = _background(rng, width, height)
    backdrop = canvas.copy()
    _clutter(rng, canvas)
    placed: list[tuple[str, Mask, float]] = []
    owner = np.full((height, width), -1, np.int32)
    for index in range(count or int(rng.integers(1, 5))):
        name = SHAPES[rng.integers(len(SHAPES))]
        mask = _shape(rng, name, width, height)
        around = backdrop[mask].mean(axis=0) if mask.any() else np.zeros(3)
        contrast = float(rng.choice([25, 50, 90, 140], p=[0.15, 0.3, 0.35, 0.2]))
        canvas[mask] = _fill(rng, mask, _distinct(rng, around, contrast))[mask]
        owner[mask] = index
        placed.append((name, mask, contrast))
        if rng.random() < 0.25 and mask.any():
            bar = _bar_across(rng, mask)
            canvas[bar] = _colour(rng) + rng.normal(0, 6, (int(bar.sum()), 3))
            owner[bar] = -1
    image = _camera(rng, canvas)
    objects = []
    for index, (name, mask, contrast) in enumerate(placed):
        visible = owner == index
        share = float(visible.sum()) / max(int(mask.sum()), 1)
        if visible.sum() >= MIN_VISIBLE_PIXELS and share >= MIN_VISIBLE_SHARE:
            objects.append(SceneObject(name, visible, tight_box(visible), 1 - share, contrast))
    return Scene(image, tuple(objects))


def scenes(first_seed: int, *, objects: int) -> Iterator[Scene]:
    """Scenes from ``first_seed`` upwards until at least ``objects`` labelled objects have been drawn."""
    seed, drawn = first_seed, 0
    while drawn < objects:
        scene = make_scene(seed)
        seed += 1
        if scene.objects:
            drawn += len(scene.objects)
            yield scene


def tight_box(mask: Mask) -> tuple[int, int, int, int]:
    """``(x, y, w, h)`` of the smallest box around the true pixels of a non-empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def jittered_box(
    rng: np.random.Generator, box: tuple[int, int, int, int], *, amount: float = 0.04
) -> tuple[float, float, float, float]:
    """The box as a hurried person draws it: each side moved by a normal error of ``amount`` of the size."""
    x, y, w, h = box
    left, right = rng.normal(0, amount * w, 2)
    top, bottom = rng.normal(0, amount * h, 2)
    return x + left, y + top, max(w - left + right, 2.0), max(h - top + bottom, 2.0)


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape; 0 when both are empty."""
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else 0.0


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Any colour; muted more often than not, as in photographs."""
    vivid = rng.uniform(20, 235, 3)
    grey = rng.uniform(30, 225)
    return grey + rng.choice([1.0, 0.45, 0.2]) * (vivid - grey)


def _distinct(rng: np.random.Generator, other: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """A colour about ``distance`` (Euclidean RGB) away from ``other``, inside the cube."""
    best, best_error = other, np.inf
    for _ in range(20):
        direction = rng.normal(size=3)
        colour = np.clip(other + distance * direction / np.linalg.norm(direction), 5, 250)
        error = abs(float(np.linalg.norm(colour - other)) - distance)
        if error < best_error:
            best, best_error = colour, error
    return best


def _noise(rng: np.random.Generator, width: int, height: int, cells: int) -> NDArray[np.float64]:
    """Smooth value noise in -1..1 with about ``cells`` features across."""
    grid = rng.uniform(-1, 1, (max(2, cells * height // width), max(2, cells))).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float64)


def _background(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    base, second = _colour(rng), _colour(rng)
    kind = rng.choice(["plain", "cloud", "patches", "stripes", "halves"], p=[0.2, 0.3, 0.2, 0.15, 0.15])
    canvas = np.empty((height, width, 3))
    rows, columns = np.mgrid[0:height, 0:width]
    if kind == "plain":
        blend = np.clip(0.15 * rows / height + 0.1 * _noise(rng, width, height, 4), 0, 1)
    elif kind == "cloud":
        blend = np.clip(0.5 + 0.5 * _noise(rng, width, height, int(rng.integers(3, 12))), 0, 1)
    elif kind == "patches":
        blend = (_noise(rng, width, height, int(rng.integers(6, 20))) > 0) * rng.uniform(0.2, 0.6)
    elif kind == "stripes":
        angle, period = rng.uniform(0, np.pi), rng.uniform(12, 60)
        blend = (np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period) > 0) * 0.35
    else:
        blend = (rows > height * rng.uniform(0.35, 0.75)).astype(np.float64)
    canvas[:] = base + blend[..., None] * (second - base)
    for cells, amplitude in ((8, 12), (40, 9), (120, 7)):
        canvas += (rng.uniform(0.2, 1) * amplitude * _noise(rng, width, height, cells))[..., None]
    return canvas


def _clutter(rng: np.random.Generator, canvas: NDArray[np.float64]) -> None:
    """Small unlabelled things of any colour, so that a box holds more than one background."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 14))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(5, 45)), int(rng.integers(5, 45)))
        patch = np.zeros((height, width), np.uint8)
        cv2.ellipse(patch, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        inside = patch.astype(bool)
        canvas[inside] = _colour(rng) + rng.normal(0, 8, (int(inside.sum()), 3))


def _outline(rng: np.random.Generator, name: str) -> NDArray[np.float64]:
    """Vertices of a shape within about -1..1 of the origin."""
    if name == "rectangle":
        half = rng.uniform(0.4, 1)
        return np.array([(-1, -half), (1, -half), (1, half), (-1, half)])
    if name == "triangle":
        angles = np.deg2rad([90, 210, 330]) + rng.normal(0, 0.15, 3)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if name == "octagon":
        angles = np.deg2rad(np.arange(22.5, 360, 45))
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if name == "star":
        points = int(rng.integers(5, 8))
        angles = np.arange(2 * points) * np.pi / points
        radii = np.where(np.arange(2 * points) % 2, rng.uniform(0.45, 0.65), 1)
        return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    if name == "arrow":
        return np.array([(-1, -0.3), (0.1, -0.3), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3)])
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radii = np.ones_like(angles)
    if name == "blob":
        for order in range(2, 6):
            wave = np.cos(order * angles + rng.uniform(0, 2 * np.pi))
            radii += rng.normal(0, 0.25 / order) * wave
    squash = rng.uniform(0.65, 1)
    return np.stack([radii * np.cos(angles), squash * radii * np.sin(angles)], axis=1)


def _shape(rng: np.random.Generator, name: str, width: int, height: int) -> Mask:
    radius = rng.uniform(0.07, 0.3) * min(width, height)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    spread = rng.uniform(0.7, 1.3)
    vertices = _outline(rng, name) * (radius * spread, radius / spread) @ turn.T
    centre = rng.uniform((radius * 0.8, radius * 0.8), (width - radius * 0.8, height - radius * 0.8))
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(vertices + centre).astype(np.int32)], 1)
    if name == "ring":
        inner = vertices * rng.uniform(0.35, 0.6) + centre
        cv2.fillPoly(mask, [np.round(inner).astype(np.int32)], 0)
    return mask.astype(bool)


def _fill(rng: np.random.Generator, mask: Mask, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = mask.shape
    rows, columns = np.mgrid[0:height, 0:width]
    kind = rng.choice(FILLS)
    painted = np.empty((height, width, 3))
    painted[:] = colour
    if kind == "bordered":
        depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
        painted[depth > 0.35 * depth.max()] = _colour(rng)
    elif kind == "shaded":
        slope = rng.normal(0, 0.25, 2)
        painted += (slope[0] * (columns - columns[mask].mean()) + slope[1] * (rows - rows[mask].mean()))[
            ..., None
        ]
    elif kind == "striped":
        angle, period = rng.uniform(0, np.pi), rng.uniform(8, 30)
        wave = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period) > 0
        painted[wave] = np.clip(colour + rng.normal(0, 50, 3), 5, 250)
    elif kind == "speckled":
        painted += rng.normal(0, 25, (height, width, 1))
    return painted


def _bar_across(rng: np.random.Generator, mask: Mask) -> Mask:
    """A pole or cable that passes in front of the object."""
    height, width = mask.shape
    x, y, w, h = tight_box(mask)
    through = (x + rng.uniform(0.1, 0.9) * w, y + rng.uniform(0.1, 0.9) * h)
    angle = rng.uniform(0, np.pi)
    reach = 1.2 * max(w, h)
    step = np.array([np.cos(angle), np.sin(angle)]) * reach
    bar = np.zeros((height, width), np.uint8)
    start, end = np.subtract(through, step), np.add(through, step)
    thickness = max(2, int(rng.uniform(0.06, 0.16) * min(w, h)))
    cv2.line(bar, tuple(map(int, start)), tuple(map(int, end)), 1, thickness)
    return bar.astype(bool)


def _camera(rng: np.random.Generator, canvas: NDArray[np.float64]) -> Image:
    """Lens blur, uneven light, sensor noise and, for half of the scenes, JPEG compression."""
    height, width = canvas.shape[:2]
    sigma = rng.uniform(0.4, 1.3)
    lit = cv2.GaussianBlur(canvas, (0, 0), sigma) * (1 + 0.12 * _noise(rng, width, height, 3))[..., None]
    lit += rng.normal(0, rng.uniform(1, 10), canvas.shape)
    image: Image = np.clip(np.round(lit), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(50, 92))
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]).astype(np.uint8)
    return image
