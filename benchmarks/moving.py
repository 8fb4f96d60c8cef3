"""Scenes in which things move on known ways, and what a detector that is not perfect would say of them.

A scene is drawn (sprites with a texture on a textured ground, nearer ones over farther ones, pillars over
all), so that what is visible of a thing is counted in pixels, and looks are those of the pixels. The detector
is a model of one: boxes around what is visible with 4 % of noise, scores that fall with what is hidden,
misses, and boxes where nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from tintype_studio.video.tracking.looks import look_of

WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 30, 14
VISIBLE = 0.3
"""Share of a thing that must be seen for it to count as there."""
COLOURS = [
    (200, 40, 40),
    (40, 90, 200),
    (230, 200, 60),
    (60, 160, 70),
    (235, 235, 235),
    (40, 40, 45),
    (150, 80, 170),
]


@dataclass
class Thing:
    at: Callable[[float], tuple[float, float] | None]
    colour: tuple[int, int, int]
    side: tuple[int, int] = (56, 40)
    depth: float = 0.0
    """Larger is nearer."""


@dataclass
class Frame:
    seconds: float
    truth: dict[int, np.ndarray] = field(default_factory=dict)
    """Boxes of the things that are to be seen, by their numbers from 1."""
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    looks: np.ndarray = field(default_factory=lambda: np.zeros((0, 48), np.uint8))


@dataclass
class Scene:
    name: str
    things: list[Thing]
    pillars: list[tuple[int, int]] = field(default_factory=list)
    """Left and right, in pixels."""


# --- scenes -------------------------------------------------------------------------------------------


def crossings(random: np.random.Generator) -> Scene:
    """Things pass one another both ways, on near rows; two of them look the same."""
    things = []
    for number in range(7):
        speed = random.uniform(40, 110) * (1 if number % 2 else -1)
        start = random.uniform(0.1, 0.9) * WIDTH - speed * random.uniform(0, SECONDS / 2)
        row, wave = random.uniform(90, 270), random.uniform(0, 12)
        things.append(
            Thing(
                lambda t, s=speed, x=start, y=row, w=wave: (x + s * t, y + w * np.sin(2 * t)),
                COLOURS[number % 6],
                depth=row,
            )
        )
    return Scene("crossings", things)


def occlusion(random: np.random.Generator) -> Scene:
    """Things go behind pillars, for a third of a second to two seconds."""
    pillars = [
        (int(x), int(x + w))
        for x, w in zip(random.uniform(60, 500, 3), random.uniform(30, 110, 3), strict=True)
    ]
    things = []
    for number in range(6):
        speed = random.uniform(45, 110) * random.choice([-1, 1])
        start = (0 if speed > 0 else WIDTH) - speed * random.uniform(-1, 5)
        row = 40 + number * 52
        things.append(
            Thing(lambda t, s=speed, x=start, y=row: (x + s * t, y), COLOURS[number % 7], depth=row)
        )
    return Scene("occlusion", things, pillars)


def returning(random: np.random.Generator) -> Scene:
    """Things leave the picture and come back through the same border after two to seven seconds."""
    things = []
    for number in range(5):
        side, away = random.choice([-1, 1]), random.uniform(2, 7)
        speed, leaves, row = random.uniform(50, 90), random.uniform(2, 4), 50 + 62 * number

        def at(
            t: float,
            side: int = side,
            away: float = away,
            speed: float = speed,
            leaves: float = leaves,
            y: float = row,
        ):
            edge = WIDTH + 45 if side > 0 else -45
            if t < leaves:
                return edge + side * speed * (t - leaves), y
            if t < leaves + away:
                return None
            return edge - side * speed * (t - leaves - away), y + 10

        things.append(Thing(at, COLOURS[number % 7], depth=row))
    things.append(Thing(lambda t: (320 + 60 * np.sin(t / 2), 30), COLOURS[6], depth=0))
    return Scene("returning", things)


def twins(random: np.random.Generator) -> Scene:
    """A stream of things that all look the same: nobody comes back, all are new."""
    things = []
    for number in range(9):
        lane = number % 3
        speed = (70 + 15 * lane) * (1 if lane != 1 else -1)
        start = (-60 if speed > 0 else WIDTH + 60) - speed * (
            1.2 * (number // 3) * 2.5 + random.uniform(-0.4, 0.4)
        )
        row = 90 + lane * 90 + random.uniform(-5, 5)
        things.append(Thing(lambda t, s=speed, x=start, y=row: (x + s * t, y), COLOURS[4], depth=row))
    return Scene("twins", things)


SCENES = (crossings, occlusion, returning, twins)


# --- drawing ------------------------------------------------------------------------------------------


def sprite(thing: Thing, random: np.random.Generator) -> np.ndarray:
    """(h, w, 3): a body with darker windows and some noise."""
    width, height = thing.side
    body = np.full((height, width, 3), thing.colour, np.float32)
    body[height // 5 : height // 2, width // 6 : width * 5 // 6] *= 0.45
    body[-height // 6 :, :] *= 0.6
    return np.clip(body + random.normal(0, 6, body.shape), 0, 255).astype(np.uint8)


def ground(random: np.random.Generator, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A textured ground in greys and greens."""
    coarse = random.uniform(70, 150, (height // 24 + 1, width // 24 + 1, 1)) + random.uniform(
        -12, 12, (1, 1, 3)
    )
    picture = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + random.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)


def filmed(scene: Scene, seed: int, fps: int = FPS) -> list[Frame]:
    """Truth and detections of the frames of a scene."""
    random = np.random.default_rng(seed)
    back = ground(random)
    pictures = [sprite(thing, random) for thing in scene.things]
    order = sorted(range(len(scene.things)), key=lambda k: scene.things[k].depth)
    frames = []
    for number in range(SECONDS * fps):
        frame = Frame(number / fps)
        picture, owner = back.copy(), np.zeros((HEIGHT, WIDTH), np.int16)
        whole = {}
        for k in order:
            centre = scene.things[k].at(frame.seconds)
            if centre is not None:
                whole[k + 1] = pasted(picture, owner, pictures[k], centre, k + 1)
        for left, right in scene.pillars:
            picture[:, left:right], owner[:, left:right] = (90, 84, 78), 0
        seen_boxes, scores = [], []
        for thing, area in whole.items():
            rows, columns = np.nonzero(owner == thing)
            share = len(rows) / area
            if share <= 0.05:
                continue
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
            if share >= VISIBLE:
                frame.truth[thing] = box
            missed = random.random() < (0.06 if share > 0.6 else 0.35 if share > 0.3 else 0.7)
            if not missed:
                size = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
                seen_boxes.append(box + random.normal(0, 0.04 * size, 4))
                scores.append(np.clip(random.normal(0.25 + 0.6 * min(1, share * 1.1), 0.08), 0.05, 0.99))
        if random.random() < 0.06:
            x, y, w, h = (
                random.uniform(0, WIDTH - 80),
                random.uniform(0, HEIGHT - 60),
                *random.uniform(20, 70, 2),
            )
            seen_boxes.append(np.array([x, y, x + w, y + h]))
            scores.append(random.uniform(0.15, 0.6))
        best = np.argsort(-np.array(scores))
        frame.boxes = np.clip(np.array(seen_boxes).reshape(-1, 4), 0, [WIDTH, HEIGHT] * 2)[best]
        frame.scores = np.array(scores)[best]
        if len(best):
            frame.looks = np.stack([look_of(picture, box) for box in frame.boxes])
        frames.append(frame)
    return frames


def pasted(
    picture: np.ndarray, owner: np.ndarray, sprite: np.ndarray, centre: tuple[float, float], number: int
) -> int:
    """Draw a sprite and mark its pixels; its area, also outside of the picture."""
    height, width = sprite.shape[:2]
    left, top = round(centre[0] - width / 2), round(centre[1] - height / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, picture.shape[1]), min(top + height, picture.shape[0])
    if x1 > x0 and y1 > y0:
        picture[y0:y1, x0:x1] = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
        owner[y0:y1, x0:x1] = number
    return width * height
