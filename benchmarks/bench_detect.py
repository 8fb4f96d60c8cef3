"""How well the dataset's own detector finds objects after 5, 20 and 100 labelled images, and how fast.

    python benchmarks/bench_detect.py [--quick] [--images 5,20,100] [--sets N] [--held-out N] [--picture PATH]

On generated pictures with known truth: road signs, where a class has its own look, and the scenes of the
prompt benchmark, where a class is an outline and all else is random. Beside it stands template matching, as
OpenCV's tutorial does it: the labelled crops of a class, at several sizes, by normalised correlation. mAP@50
is the mean over the classes of the average precision at an intersection over union of one half, sampled at
101 recalls as COCO does. Scores are judged as what they claim to be, the chance that a detection is right.
"""

from __future__ import annotations

# The networks are small: a second thread costs more than it does, as in the children of a job.
import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scenes import SHAPES, Image, make_scene
from signs import NAMES, make_signs

from tintype_studio.vision.detect.boxes import overlaps, suppress
from tintype_studio.vision.detect.learning import average_precision, learn
from tintype_studio.vision.detect.own import OwnDetector
from tintype_studio.vision.detect.views import LabelledImage

TAUGHT_FROM, HELD_OUT_FROM = 100, 500_000
FLOOR = 0.02

Finding = tuple[str, float, NDArray[np.float64]]
"""Name, score, box (4,)."""


@dataclass(frozen=True)
class Picture:
    image: Image
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]

    def labelled(self) -> LabelledImage:
        return LabelledImage(self.image, self.boxes, self.labels, np.empty((0, 4)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 images, one set, 12 pictures held out")
    parser.add_argument("--images", default=None, help="numbers of labelled images")
    parser.add_argument("--sets", type=int, default=None, help="sets of labelled images of each size")
    parser.add_argument("--held-out", type=int, default=None, help="pictures to find objects in")
    parser.add_argument("--picture", type=Path, help="save some held-out pictures with what was found")
    chosen = parser.parse_args()
    images = chosen.images or ("20" if chosen.quick else "5,20,100")
    counts = [int(count) for count in images.split(",")]
    sets = chosen.sets or (1 if chosen.quick else 3)
    held_out = chosen.held_out or (12 if chosen.quick else 60)
    kinds: dict[str, tuple[Sequence[str], Callable[[int], Picture]]] = {"signs": (NAMES, signs)}
    if not chosen.quick:
        kinds["outlines"] = (SHAPES, outlines)
    print(f"{'':18}{'images':>7}{'mAP@50':>9}{'templates':>11}{'precision':>11}{'recall':>8}", end="")
    print(f"{'score error':>13}{'learn s':>9}{'ms':>7}")
    results = []
    for kind, (names, draw) in kinds.items():
        judged = pictures(draw, HELD_OUT_FROM, held_out)
        for count in counts:
            repeats = sets if count < 100 else 1
            rows = [measure(names, draw, judged, count, number) for number in range(repeats)]
            row = {key: float(np.mean([r[key] for r in rows])) for key in rows[0]}
            results.append({"kind": kind, "images": count, **row})
            print(
                f"{kind:18}{count:7}{row['map']:9.3f}{row['templates']:11.3f}{row['precision']:11.2f}"
                f"{row['recall']:8.2f}{row['error']:13.3f}{row['learn_s']:9.1f}{row['ms']:7.0f}",
                flush=True,
            )
            if chosen.picture and kind == "signs" and count == counts[0]:
                save(chosen.picture, taught(names, draw, count, 0), judged[:8])
    print(json.dumps({"bench": "detect", "results": results}))


def measure(
    names: Sequence[str], draw: Callable[[int], Picture], judged: list[Picture], count: int, number: int
) -> dict[str, float]:
    lessons = pictures(draw, TAUGHT_FROM + 2000 * number, count)
    started = time.perf_counter()
    detector = learn([each.labelled() for each in lessons], names)
    learned = time.perf_counter() - started
    started = time.perf_counter()
    found = [own(detector, picture.image) for picture in judged]
    each_ms = (time.perf_counter() - started) / len(judged) * 1e3
    crops = templates(lessons, names)
    plain = [match(crops, picture.image) for picture in judged] if count <= 20 else None
    scored = [
        pair
        for findings, picture in zip(found, judged, strict=True)
        for pair in right(findings, picture, names)
    ]
    sure = [ok for _, score, ok in scored if score >= 0.5]
    objects = sum(len(picture.labels) for picture in judged)
    return {
        "map": mean_ap(found, judged, names),
        "templates": mean_ap(plain, judged, names) if plain is not None else float("nan"),
        "precision": float(np.mean(sure)) if sure else float("nan"),
        "recall": sum(sure) / objects,
        "error": calibration_error([(score, ok) for _, score, ok in scored]),
        "learn_s": learned,
        "ms": each_ms,
    }


def taught(names: Sequence[str], draw: Callable[[int], Picture], count: int, number: int) -> OwnDetector:
    lessons = pictures(draw, TAUGHT_FROM + 2000 * number, count)
    return learn([each.labelled() for each in lessons], names)


def signs(seed: int) -> Picture:
    return Picture(*make_signs(seed))


def outlines(seed: int) -> Picture:
    scene = make_scene(seed)
    boxes = [(o.box[0], o.box[1], o.box[0] + o.box[2], o.box[1] + o.box[3]) for o in scene.objects]
    labels = [SHAPES.index(o.name) for o in scene.objects]
    return Picture(scene.image, np.array(boxes, float).reshape(-1, 4), np.array(labels, np.int64))


def pictures(draw: Callable[[int], Picture], first_seed: int, count: int) -> list[Picture]:
    """``count`` pictures with at least one object."""
    found: list[Picture] = []
    seed = first_seed
    while len(found) < count:
        picture = draw(seed)
        seed += 1
        if len(picture.labels):
            found.append(picture)
    return found


def own(detector: OwnDetector, image: Image) -> list[Finding]:
    found = []
    for d in detector.detect(image, detector.classes, threshold=FLOOR, max_detections=100):
        box = np.array([d.box.x, d.box.y, d.box.x + d.box.w, d.box.y + d.box.h])
        found.append((d.name, d.score, box))
    return found


def templates(lessons: list[Picture], names: Sequence[str]) -> dict[str, list[Image]]:
    """Up to five labelled crops of each class."""
    crops: dict[str, list[Image]] = {name: [] for name in names}
    for picture in lessons:
        for box, label in zip(picture.boxes.astype(int), picture.labels, strict=True):
            crop = picture.image[box[1] : box[3], box[0] : box[2]]
            if len(crops[names[label]]) < 5 and min(crop.shape[:2]) > 4:
                crops[names[label]].append(crop)
    return crops


def match(crops: dict[str, list[Image]], image: Image) -> list[Finding]:
    """Normalised correlation with every crop at several sizes, on a half-sized picture."""
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found: list[Finding] = []
    for name, examples in crops.items():
        boxes, scores = [], []
        for crop in examples:
            for scale in (0.25, 0.35, 0.5, 0.7, 1.0):
                size = (int(crop.shape[1] * scale), int(crop.shape[0] * scale))
                if min(size) < 10 or size[0] >= small.shape[1] or size[1] >= small.shape[0]:
                    continue
                patch = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
                answer = cv2.matchTemplate(small, patch, cv2.TM_CCOEFF_NORMED)
                for place in np.argsort(answer.ravel())[-5:]:
                    y, x = np.unravel_index(place, answer.shape)
                    boxes.append((2 * x, 2 * y, 2 * (x + size[0]), 2 * (y + size[1])))
                    scores.append(float(answer[y, x]))
        if boxes:
            kept = suppress(np.array(boxes, float), np.array(scores), 0.45, 20)
            found += [(name, scores[k], np.array(boxes[k], float)) for k in kept]
    return found


def right(findings: list[Finding], picture: Picture, names: Sequence[str]) -> list[tuple[str, float, bool]]:
    """Every finding, best first, with whether it is right; an object is found once."""
    taken = np.zeros(len(picture.boxes), bool)
    judged = []
    for name, score, box in sorted(findings, key=lambda f: -f[1]):
        near = overlaps(box[None], picture.boxes)[0]
        near = np.where((picture.labels == names.index(name)) & ~taken, near, 0)
        ok = bool(len(near) and near.max() >= 0.5)
        if ok:
            taken[int(near.argmax())] = True
        judged.append((name, score, ok))
    return judged


def mean_ap(found: list[list[Finding]], judged: list[Picture], names: Sequence[str]) -> float:
    rows = [row for f, picture in zip(found, judged, strict=True) for row in right(f, picture, names)]
    rows.sort(key=lambda row: -row[1])
    values = []
    for index, name in enumerate(names):
        objects = sum(int((picture.labels == index).sum()) for picture in judged)
        if objects:
            values.append(average_precision([ok for n, _, ok in rows if n == name], objects))
    return float(np.mean(values))


def calibration_error(scored: list[tuple[float, bool]]) -> float:
    """Mean distance of scores from the share that is right, over ten equal parts."""
    scored = sorted(scored)
    parts = [part for part in np.array_split(np.array(scored, float), 10) if len(part)]
    return sum(abs(part[:, 0].mean() - part[:, 1].mean()) * len(part) for part in parts) / max(1, len(scored))


def save(path: Path, detector: OwnDetector, judged: list[Picture]) -> None:
    """Held-out pictures with every finding of one half or more: green where right, yellow where not."""
    tiles = []
    for picture in judged:
        drawn = picture.image.copy()
        findings = [f for f in own(detector, picture.image) if f[1] >= 0.5]
        verdicts = right(findings, picture, detector.classes)
        for (name, score, box), (_, _, ok) in zip(
            sorted(findings, key=lambda f: -f[1]), verdicts, strict=True
        ):
            left, top, far, low = (int(v) for v in box)
            cv2.rectangle(drawn, (left, top), (far, low), (0, 255, 0) if ok else (255, 255, 0), 2)
            cv2.putText(drawn, f"{name} {score:.2f}", (left, max(12, top - 4)), 0, 0.5, (255, 255, 255), 1)
        tile = np.zeros((640, 640, 3), np.uint8)
        tile[: drawn.shape[0], : drawn.shape[1]] = drawn
        tiles.append(cv2.resize(tile, (400, 400), interpolation=cv2.INTER_AREA))
    while len(tiles) % 4:
        tiles.append(np.zeros_like(tiles[0]))
    sheet = np.vstack([np.hstack(tiles[k : k + 4]) for k in range(0, len(tiles), 4)])
    cv2.imwrite(str(path), sheet[..., ::-1])


if __name__ == "__main__":
    main()
