"""Writing a dataset's annotations as COCO, YOLO, Pascal VOC and CVAT.

Ours goes from documents as the database holds them (JSON, which is parsed here as in an export) to a ZIP. The
floor is what ``zipfile`` needs for a ZIP of the same members at the same level. The peers, Datumaro and
supervision, get the same polygons in memory, in their own classes, and write files into a folder, which is
less: no JSON to parse and nothing to deflate. So Datumaro is also given the time to put its files into a ZIP
(``zipfile``, the same level). They live in ``.sdk/peers``, made at the first full run.
``--processor`` counts processor time instead of the clock's, all threads together, for busy machines.
``--quick`` writes 500 images and leaves the peers out, unless ``--peers`` asks for them.

supervision holds a polygon as a mask of the whole image, so it gets as many images as memory bears
(``SOME``), small ones with proportionally small polygons, and its time is counted by the image. It knows no
CVAT.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _common import median, print_result

from tintype_studio.annotations.documents import as_text
from tintype_studio.annotations.geometry import (
    BBoxAnnotation,
    BoundingBox,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
    with_box,
)
from tintype_studio.formats import writer_for
from tintype_studio.formats.archive import DEFLATE_LEVEL
from tintype_studio.formats.base import ExportClass, ExportItem
from tintype_studio.formats.figures import StoredDocument

FORMATS = ("coco", "yolo", "pascal_voc", "cvat")
BOXES = "yolo, boxes"
"""Datumaro writes no outlines to YOLO, and only the boxes of them to Pascal VOC."""
CASES = (*FORMATS, BOXES)
BESIDE = {
    "datumaro": {"coco": "coco", "pascal_voc": "pascal_voc", "cvat": "cvat", BOXES: "yolo"},
    "supervision": {"coco": "coco", "yolo": "yolo", "pascal_voc": "pascal_voc"},
}
"""By peer, which of its formats does the same."""
CLASSES = ("car", "truck", "bus", "bicycle", "person", "sign")
WIDTH, HEIGHT = 1920, 1080
PER_IMAGE = 7.2
VERTICES = (8, 32)
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
HERE = Path(__file__).parent
PEERS = HERE.parent / ".sdk" / "peers"
PEER_PACKAGES = ("datumaro==1.13.12", "supervision==0.31.2")

PROCESSOR = "--processor" in sys.argv
clock = time.process_time if PROCESSOR else time.perf_counter
"""Of all threads: what a second one does beside counts in full then."""

Shapes = list[list[tuple[str, list[tuple[float, float]]]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--processor", action="store_true", help="processor time, for busy machines")
    options = parser.parse_args()
    count, rounds = (500, 3) if options.quick else (5_000, 3)
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        measure_writing(Path(name), count, rounds, peers=options.peers or not options.quick)


def made_shapes(count: int) -> Shapes:
    """For each image, class and vertices of its polygons: stars around a centre, two decimals."""
    chance = random.Random(1)
    shapes: Shapes = []
    total = 0
    for number in range(count):
        wanted = math.floor((number + 1) * PER_IMAGE + 1e-9) - total
        total += wanted
        shapes.append([_shape(chance) for _ in range(wanted)])
    return shapes


def _shape(chance: random.Random) -> tuple[str, list[tuple[float, float]]]:
    x, y = chance.uniform(150, WIDTH - 150), chance.uniform(150, HEIGHT - 150)
    size, points = chance.uniform(20, 140), chance.randint(*VERTICES)
    ring = []
    for k in range(points):
        angle, radius = 2 * math.pi * k / points, size * chance.uniform(0.8, 1)
        ring.append((round(x + radius * math.cos(angle), 2), round(y + radius * math.sin(angle), 2)))
    return chance.choice(CLASSES), ring


def items_of(shapes: Shapes, *, boxes: bool = False) -> list[ExportItem]:
    """As the export service hands them to a writer; ``boxes`` in place of the polygons."""
    items = []
    for number, polygons in enumerate(shapes):
        annotations: list[Any] = [
            _box(f"{number}-{k}", name, ring) if boxes else _polygon(f"{number}-{k}", name, ring)
            for k, (name, ring) in enumerate(polygons)
        ]
        document = StoredDocument(as_text([with_box(annotation) for annotation in annotations]))
        split = ("train", "train", "train", "val")[number % 4]
        items.append(
            ExportItem(f"id-{number}", f"{number:06}.jpg", "/", WIDTH, HEIGHT, "complete", split, document)
        )
    return items


def _polygon(key: str, name: str, ring: list[tuple[float, float]]) -> PolygonAnnotation:
    path = [Point(x=x, y=y) for x, y in ring]
    return PolygonAnnotation(id=key, name=name, polygon=PolygonGeometry(paths=[path]))


def _box(key: str, name: str, ring: list[tuple[float, float]]) -> BBoxAnnotation:
    xs, ys = zip(*ring, strict=True)
    left, top = min(xs), min(ys)
    box = BoundingBox(x=left, y=top, w=max(xs) - left, h=max(ys) - top)
    return BBoxAnnotation(id=key, name=name, bounding_box=box)


def write(name: str, items: list[ExportItem], path: Path) -> float:
    """Seconds to write a ZIP."""
    began = clock()
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        writer_for(name)(
            archive, dataset_name="bench", classes=[ExportClass(c) for c in CLASSES], created_at=CREATED
        ) as writer,
    ):
        for item in items:
            writer.add(item)
        writer.finish()
    return clock() - began


def write_bytes(members: list[tuple[str, bytes]], path: Path) -> float:
    """Seconds to write the same members, which are at hand, with ``zipfile`` alone."""
    began = clock()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=DEFLATE_LEVEL) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return clock() - began


def measure_writing(folder: Path, count: int, rounds: int, *, peers: bool) -> None:
    shapes = made_shapes(count)
    polygons = sum(map(len, shapes))
    items, boxes = items_of(shapes), items_of(shapes, boxes=True)
    of = {case: (case, items) for case in FORMATS} | {BOXES: ("yolo", boxes)}
    ours: dict[str, list[float]] = {case: [] for case in CASES}
    floor: dict[str, list[float]] = {case: [] for case in CASES}
    members = {}
    for case, (name, given) in of.items():
        path = folder / "warm.zip"
        write(name, given, path)
        with zipfile.ZipFile(path) as archive:
            members[case] = [(n, archive.read(n)) for n in archive.namelist()]
    others: dict[str, dict[str, float]] = {}
    if peers:
        make_peers()
        (folder / "shapes.json").write_text(json.dumps(shapes))
        others = ask_peers("formats_peers.py", folder, WIDTH, HEIGHT)
    gc.freeze()  # what is only input here is not searched for garbage, neither here nor by the peers
    for _ in range(rounds):
        for case, (name, given) in of.items():
            ours[case].append(write(name, given, folder / "ours.zip"))
            floor[case].append(write_bytes(members[case], folder / "floor.zip"))
    rows, ratios = [], {}
    for case in CASES:
        mine, key = median(ours[case]), case.replace(", ", "_")
        over = median([a / b for a, b in zip(ours[case], floor[case], strict=True)])
        ratios[f"{key}_over_bytes"] = over
        cells = [f"{mine:.2f} s", f"{polygons / mine:,.0f}", f"{over:.2f}"]
        for peer, same in BESIDE.items():
            seconds = others.get(peer, {}).get(same.get(case, ""))
            if seconds is None:
                cells += ["", ""]
                continue
            ratios[f"{key}_beside_{peer}"] = seconds * count / mine
            cells += [f"{seconds * count:.1f} s", f"{seconds * count / mine:.1f}"]
            if peer == "datumaro":
                zipped = others[peer][f"{same[case]}, zipped"] * count / mine
                ratios[f"{key}_beside_datumaro_zipped"] = zipped
                cells[-1] += f" ({zipped:.1f} into a ZIP)"
        rows.append([case, *cells])
    print_result(
        "formats",
        [
            f"writing {count:,} images, {polygons:,} polygons",
            "ours",
            "polygons/s",
            "ours / bytes alone",
            "datumaro",
            "times ours",
            "supervision",
            "times ours",
        ],
        rows,
        **ratios,
    )


# --- Peers --------------------------------------------------------------------------------------------


def make_peers() -> None:
    """An environment of their own, once."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)


def ask_peers(script: str, *arguments: object) -> dict[str, dict[str, float]]:
    """By peer and format, seconds per image, as a script of the peers' environment measures them."""
    done = subprocess.run(
        [str(PEERS / "bin" / "python"), str(HERE / script), *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "BENCH_CLOCK": clock.__name__},
    )
    answer: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    main()
